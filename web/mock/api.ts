// SPDX-License-Identifier: Apache-2.0

// Mocks the API with the examples in its contract, so that the dashboard is developed without an installation: `npm run dev:mock`. Changes
// succeed, and change nothing. The client ID "operator" signs in as an operator, and every other one as an owner of a tenant.
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { parse } from "yaml";
import { type Answer, answerOf, type Contract } from "./examples.ts";

const CONTRACT = new URL("../../openapi/openapi.yaml", import.meta.url);
const HEARTBEAT = 10_000; // milliseconds; the dashboard gives up a stream that is silent for longer

/** respond writes the mock's response to a request. */
export function respond(contract: Contract, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url ?? "/", "http://mock");
  const method = request.method ?? "GET";
  if (url.pathname === "/oauth2/token") {
    readAll(request, (form) => {
      const token = new URLSearchParams(form).get("client_id") ?? new URLSearchParams(form).get("subject_token") ?? "";
      send(response, { status: 200, type: "application/json", body: { access_token: token, token_type: "Bearer", expires_in: 86400 } });
    });
    return;
  }
  if (method === "GET" && url.searchParams.get("watch") === "true") {
    watch(response, answerOf(contract, method, url.pathname));
    return;
  }
  const answer = answerOf(contract, method, url.pathname, request.headers.accept);
  if (url.pathname === "/v1/whoami") answer.body = identity(answer.body as object, request.headers.authorization === "Bearer operator");
  send(response, answer);
}

function identity(tenants: object, operator: boolean) {
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
  if (!operator) return { ...tenants, role: "owner", expiresAt };
  return { kind: "operator", id: "5f0f0c52-4a0f-4d51-9f0e-7d5f6a3b0c01", name: "operator", expiresAt };
}

function send(response: ServerResponse, answer: Answer) {
  response.statusCode = answer.status;
  if (answer.type) response.setHeader("Content-Type", answer.type);
  response.end(typeof answer.body === "string" || answer.body === undefined ? answer.body : JSON.stringify(answer.body));
}

/** watch sends the objects of a list as a stream that does not end. */
function watch(response: ServerResponse, answer: Answer) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  for (const item of (answer.body as { items?: unknown[] } | undefined)?.items ?? []) {
    response.write(`event: added\ndata: ${JSON.stringify(item)}\n\n`);
  }
  response.write("event: synced\ndata: {}\n\n");
  const beat = setInterval(() => response.write(":\n\n"), HEARTBEAT);
  response.on("close", () => clearInterval(beat));
}

function readAll(request: IncomingMessage, done: (body: string) => void) {
  let body = "";
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", () => done(body));
}

/** mockApi serves the mock next to the dashboard's sources. */
export function mockApi(): Plugin {
  const contract = parse(readFileSync(CONTRACT, "utf8"), { maxAliasCount: -1 }) as Contract;
  return {
    name: "husk-mock-api",
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        if (/^\/(v1|oauth2|\.well-known)\//.test(request.url ?? "")) respond(contract, request, response);
        else next();
      });
    },
  };
}
