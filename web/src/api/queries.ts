// SPDX-License-Identifier: Apache-2.0

import { useMemo } from "react";
import { keyOf, type Session, useSession } from "./session";

/** LOGIN_OPTIONS is the key of how users can sign in. Nobody has signed in for that. */
export const LOGIN_OPTIONS = ["login options"];

/**
 * keysOf makes the key of everything that is read for a session, other than live lists. After a change, invalidate the key of what has changed: that
 * of a list also stands for its objects. Two sessions share nothing.
 */
export function keysOf(session: Pick<Session, "kind" | "id" | "tenantId">) {
  const of = keyOf(session);
  return {
    about: [of, "about"],
    quota: [of, "quota"],
    volumeClasses: [of, "volume classes"],
    unknownObjects: [of, "unknown objects"],
    traffic: [of, "traffic"],
    configs: [of, "configs"],
    config: (id: string) => [of, "configs", id],
    tenants: [of, "tenants"],
    tenantKeys: (tenant: string) => [of, "tenant keys", tenant],
    nodes: [of, "nodes"],
    placed: (query: object) => [of, "placed", query],
    fence: (node: string) => [of, "fence", node],
    drain: (node: string) => [of, "drain", node],
    pod: (id: string | undefined) => [of, "pod", id],
    stats: (pod: string) => [of, "stats", pod],
    statsHistory: (pod: string) => [of, "stats", pod, "history"],
    placement: (pod: string, phase: string, reason: string | undefined) => [of, "placement", pod, phase, reason],
    image: (id: string, state: string | undefined) => [of, "image", id, state], // read again when its state changes
    ingressRequests: (id: string) => [of, "ingress requests", id],
    groupTraffic: (id: string) => [of, "security group traffic", id],
    audit: (filter: object) => [of, "audit", filter],
    usage: (...what: unknown[]) => [of, "usage", ...what],
    access: [of, "access"], // of the tenant: users, accounts, keys
    accessTo: (what: string) => [of, "access", what],
    platform: [of, "platform"], // pools, issuers, keys of the installation
    platformPart: (what: string) => [of, "platform", what],
  };
}

/** useKeys returns the keys of the current session. */
export function useKeys() {
  const session = useSession();
  return useMemo(() => keysOf(session), [session]);
}
