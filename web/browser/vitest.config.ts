// SPDX-License-Identifier: Apache-2.0

import { defineConfig } from "vitest/config";
import { limit } from "./limit";

// Files run one after the other, because they share a node with two cores on which pods are emulated.
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: limit(180),
    hookTimeout: limit(180),
    bail: 0,
  },
});
