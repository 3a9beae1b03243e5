import type { Role } from "./client";
import { useSession } from "./session";

const ORDER: Role[] = ["viewer", "developer", "owner"];

/** useMay tells whether the session's role includes another. What one may not do is not shown; the server checks it again. */
export function useMay(role: Role): boolean {
  const s = useSession();
  return s.kind === "tenant" && ORDER.indexOf(s.role ?? "viewer") >= ORDER.indexOf(role);
}
