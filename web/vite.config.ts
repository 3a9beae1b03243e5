// SPDX-License-Identifier: Apache-2.0

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { mockApi } from "./mock/api.ts";

// The dashboard is served under /ui/ by huskd itself. `npm run dev` serves it from its sources and passes everything else on to a running one.
// `npm run dev:mock` answers everything else with the examples in the contract.
export default defineConfig(({ mode }) => ({
  base: "/ui/",
  plugins: [react(), ...(mode === "mock" ? [mockApi()] : [])],
  // dist keeps a file that git knows, so that the Go package compiles before the first build.
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 600,
    modulePreload: { polyfill: false },
    // The small components that pages share are in one file, so that a page does not load dozens.
    rolldownOptions: { output: { advancedChunks: { groups: [{ name: "ui", test: /src\/(ui\/(?!Chart|xterm)|lib\/)/ }] } } },
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/oauth2", "/.well-known"].map((path) => [path, { target: "http://127.0.0.1:8080", ws: true }])),
  },
  test: { include: ["src/**/*.test.ts", "mock/**/*.test.ts"] },
}));
