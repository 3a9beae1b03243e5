// SPDX-License-Identifier: Apache-2.0

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { askOtherTabs, keepSignedIn } from "./api/session";
import { router } from "./router";
import "./styles/index.css";
import { applyTheme } from "./ui/theme";

// Queries are retried only after errors that a retry can fix, not after the server has rejected a request.
const queries = new QueryClient({
  defaultOptions: {
    queries: {
      networkMode: "always", // a browser that reports that it is offline can still reach a server on the same machine
      staleTime: 5_000,
      retry: (times, err) =>
        times < 3 && err instanceof ApiError && (err.code === "unreachable" || err.code === "unavailable" || err.code === "rate_limited"),
    },
  },
});

applyTheme();
await askOtherTabs();
keepSignedIn();
const root = document.getElementById("root");
if (!root) throw new Error("the page has no element with the id root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
