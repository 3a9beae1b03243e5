// SPDX-License-Identifier: Apache-2.0

import type { Role } from "./client";
import { useSession } from "./session";

const ORDER: Role[] = ["viewer", "developer", "owner"];

/** useHasRole reports whether the session's role includes the given role. Pages hide actions that are not allowed; the server checks them as well. */
export function useHasRole(role: Role): boolean {
  const s = useSession();
  return s.kind === "tenant" && ORDER.indexOf(s.role ?? "viewer") >= ORDER.indexOf(role);
}

/** ROLES are the roles with their permissions, for a Select. */
export const ROLES: [Role, string][] = [
  ["viewer", "viewer: reads"],
  ["developer", "developer: also creates and deletes"],
  ["owner", "owner: also manages access"],
];
