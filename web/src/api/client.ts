// SPDX-License-Identifier: Apache-2.0

// The client of the API. It sends the current session's token and throws errors as ApiError.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";
import { currentSession, endSession } from "./session";

export type Schemas = components["schemas"];
export type Pod = Schemas["Pod"];
export type PodSpec = Schemas["PodSpec"];
export type PodCreate = Schemas["PodCreate"];
export type Volume = Schemas["Volume"];
export type Snapshot = Schemas["Snapshot"];
export type Network = Schemas["Network"];
export type Service = Schemas["Service"];
export type Ingress = Schemas["Ingress"];
export type Address = Schemas["Address"];
export type SecurityGroup = Schemas["SecurityGroup"];
export type Image = Schemas["Image"];
export type HuskEvent = Schemas["Event"];
export type Node = Schemas["Node"];
export type PlacedPod = Schemas["PlacedPod"];
export type Tenant = Schemas["Tenant"];
export type Role = Schemas["Role"];

/** ApiError is a problem that the API returned. If there was no response, the error has the code "unreachable". */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly field?: string;
  readonly requestId?: string;

  constructor(problem: Partial<Schemas["Problem"]> & { code: string }) {
    super(problem.detail || problem.title || problem.code);
    this.status = problem.status ?? 0;
    this.code = problem.code;
    this.field = problem.field;
    this.requestId = problem.requestId;
  }
}

export const unreachable = () =>
  new ApiError({ code: "unreachable", detail: "The server cannot be reached. Check the connection, then retry." });

/** problemOf reads the problem from an error response. It ends the session of a rejected token. */
export async function problemOf(answer: Response, token?: string): Promise<ApiError> {
  const body = await answer.json().catch(() => null);
  if (answer.status === 401 && token) endSession(token, typeof body?.detail === "string" ? `${body.detail}.` : undefined);
  if (body && typeof body.code === "string") return new ApiError(body);
  return new ApiError({
    code: "unknown",
    status: answer.status,
    detail: `The server returned status ${answer.status} without an explanation.`,
  });
}

const PATIENCE = 30_000; // milliseconds until a response; no request of the dashboard waits for something

export const client = createClient<paths>({
  baseUrl: location.origin,
  fetch: (request) => fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(PATIENCE)]) }),
});

client.use({
  onRequest({ request }) {
    const token = currentSession()?.token;
    if (token) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
  async onResponse({ request, response }) {
    if (!response.ok) throw await problemOf(response, request.headers.get("Authorization")?.slice("Bearer ".length));
    return undefined;
  },
  onError: ({ error }) => (error instanceof ApiError ? error : unreachable()),
});

/** data returns the JSON body of a response. Errors have already been thrown. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<Exclude<T, string>> {
  return (await answer).data as Exclude<T, string>;
}

/** idempotent returns a header that makes it safe to repeat a POST. */
export const idempotent = () => ({ "Idempotency-Key": randomText() });

/** randomText returns 128 random bits. crypto.randomUUID is not available on plain HTTP. */
export const randomText = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
