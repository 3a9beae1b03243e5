import { defineConfig } from "vitest/config";

// One file after the other: they share a node of two cores, on which pods are emulated.
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
