// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { whyNot } from "./allowed";

test("an action is possible, or says when it is", () => {
  expect(whyNot("volume", "delete", "Available")).toBeUndefined();
  expect(whyNot("volume", "delete", "InUse")).toBe("The volume is in use by a pod.");
  expect(whyNot("pod", "start", "Running")).toBe("The pod runs already.");
  expect(whyNot("pod", "stop", "Stopping")).toBe("The pod is stopping.");
  expect(whyNot("pod", "stop", "Dreaming")).toBe("The pod is Dreaming."); // a later server's
});
