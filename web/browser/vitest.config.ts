import { defineConfig } from "vitest/config";

// Files run one after the other, because they share a node with two cores on which pods are emulated.
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    bail: 0,
  },
});
