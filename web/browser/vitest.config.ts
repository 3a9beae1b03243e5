import { defineConfig } from "vitest/config";
import { limit } from "./limit";

// One file after the other: they share a node of two cores, on which pods are emulated.
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
