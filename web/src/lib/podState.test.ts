// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import type { Pod } from "../api/client";
import { needsAttention, podState, restartsOf } from "./podState";

const pod = (phase: string, reason?: string) =>
  ({ status: { phase, reason, restarts: 1, containers: [{ name: "a", state: "Running", restarts: 2 }] } }) as unknown as Pod;

test("a crash loop is the state of a running pod, and needs attention", () => {
  expect(podState(pod("Running"))).toBe("Running");
  expect(needsAttention(pod("Running"))).toBe(false);
  expect(podState(pod("Running", "CrashLoopBackOff"))).toBe("CrashLoopBackOff");
  expect(needsAttention(pod("Running", "CrashLoopBackOff"))).toBe(true);
});

test("the reason of a failure is the state if it says more than the phase", () => {
  expect(podState(pod("Failed", "Error"))).toBe("Failed");
  expect(podState(pod("Failed", "OOMKilled"))).toBe("OOMKilled");
  expect(podState(pod("Succeeded", "Completed"))).toBe("Succeeded");
  expect(needsAttention(pod("Succeeded", "Completed"))).toBe(false);
});

test("restarts of containers and of the machine are counted together", () => {
  expect(restartsOf(pod("Running"))).toBe(3);
});
