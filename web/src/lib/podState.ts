// SPDX-License-Identifier: Apache-2.0

import type { Pod } from "../api/client";

/** phaseOf returns the pod's phase, or Unknown if the pod's node does not respond. */
export const phaseOf = ({ status }: Pod): string => (status.unknownSince ? "Unknown" : status.phase);

/** podState returns the pod's phase, or the reason why the pod is not well or not further. If the pod's node does not respond, it is Unknown. */
export function podState({ status }: Pod): string {
  if (status.unknownSince) return "Unknown";
  const says = ["Pending", "Starting", "Running", "Failed"].includes(status.phase) && status.reason && status.reason !== "Error";
  return says && status.reason ? status.reason : status.phase;
}

/** needsAttention reports whether somebody should look at the pod. */
export function needsAttention({ status }: Pod): boolean {
  return (
    status.phase === "Failed" || !!status.unknownSince || (["Pending", "Starting", "Running"].includes(status.phase) && !!status.reason)
  );
}

/** restartsOf counts the restarts of the pod's containers and of its virtual machine. */
export function restartsOf({ status }: Pod): number {
  return status.containers.reduce((n, c) => n + c.restarts, status.restarts ?? 0);
}
