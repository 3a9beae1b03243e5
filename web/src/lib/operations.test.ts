// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import type { Image, Node, Pod, Schemas, Snapshot, Volume } from "../api/client";
import { ofDrain, ofImage, ofPod, ofSnapshot, ofVolume, operationsOf, refOf } from "./operations";

const pod = (phase: string, more = {}) => ({ id: "1", name: "web", status: { phase }, ...more }) as Pod;
const volume = (state: string, more = {}) => ({ id: "2", name: "data", state, ...more }) as Volume;
const snapshot = (state: string) => ({ id: "3", name: "kept", volumeId: "2", state, progressPercent: 40 }) as Snapshot;
const image = (state: string, more = {}) => ({ id: "4", reference: "nginx", state, ...more }) as Image;

test("states of objects are operations", () => {
  expect(ofPod(pod("Pending"))).toMatchObject({ what: "start", notCanceled: undefined });
  expect(ofPod(pod("Running"))).toBeUndefined();
  expect(ofPod(pod("Stopping"))).toMatchObject({ what: "stop", notCanceled: "The pod is stopping." });
  expect(ofPod(pod("Starting", { deletionRequestedAt: "2026-01-01T00:00:00Z" }))).toMatchObject({
    what: "deletion",
    notCanceled: "The pod is being deleted.",
  });
  expect(ofVolume(volume("Creating"))).toMatchObject({ what: "creation", notCanceled: undefined });
  expect(ofVolume(volume("Creating", { progressPercent: 0 }))).toMatchObject({ what: "copy", share: 0 });
  expect(ofVolume(volume("InUse"))).toBeUndefined();
  expect(ofVolume(volume("Deleting"))).toMatchObject({ what: "deletion", notCanceled: "The volume is being deleted." });
  expect(ofSnapshot(snapshot("Creating"))).toMatchObject({ what: "copy", share: 0.4, page: "2", notCanceled: undefined });
  expect(ofSnapshot(snapshot("Ready"))).toBeUndefined();
  expect(ofImage(image("Importing", { progress: { fetchedBytes: 3, totalBytes: 12 } }))).toMatchObject({ what: "import", share: 0.25 });
  expect(ofImage(image("Importing", { progress: { fetchedBytes: 0, totalBytes: 0 } }))?.share).toBeUndefined();
  expect(ofImage(image("Failed"))).toMatchObject({ what: "import", failed: true, notCanceled: "The image could not be imported." });
  expect(ofImage(image("Ready"))).toBeUndefined();
});

test("a drain says how far it is", () => {
  const node = { id: "5", name: "n1" } as Node;
  const drain = { moved: 3, pods: 1, moving: 1, blocked: [], startedAt: "2026-01-01T00:00:00Z" } as unknown as Schemas["Drain"];
  expect(ofDrain(node, drain)).toMatchObject({ share: 0.75, message: "1 pod left, 1 moving, 0 blocked" });
  expect(refOf(ofDrain(node))).toBe("Node n1"); // before its progress is read
});

test("objects without an operation are left out", () => {
  expect(operationsOf([pod("Running"), pod("Starting")], ofPod)).toHaveLength(1);
});
