// SPDX-License-Identifier: Apache-2.0

// The login sessions. A tab can be signed in to several tenants at once; one session is the current one. Tokens are kept in sessionStorage, so they
// are lost when the last tab is closed. A new tab requests the sessions of the other tabs. API key secrets are used once and never stored.
import { useSyncExternalStore } from "react";
import type { components } from "./schema";

type Identity = components["schemas"]["Identity"];

export interface Session extends Pick<Identity, "kind" | "id" | "name" | "role" | "tenantId" | "tenantName"> {
  token: string;
  expiresAt: number; // of the token, in milliseconds since 1970
}

interface State {
  sessions: Session[];
  current: string; // a key, or empty
}

export class SignInError extends Error {}

const STORAGE = "husk.sessions";
const RENEW_BEFORE = 5 * 60_000; // milliseconds before a token expires

/** keyOf identifies a session. A person has at most one session per tenant. */
export const keyOf = (s: Pick<Session, "kind" | "id" | "tenantId">) => `${s.kind}/${s.tenantId ?? ""}/${s.id}`;

let state: State = read();
let renewing = false;
const listeners = new Set<() => void>();
const channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("husk");

function read(): State {
  try {
    const parsed = JSON.parse(sessionStorage.getItem(STORAGE) ?? "") as State;
    return { sessions: parsed.sessions.filter((s) => s.expiresAt > Date.now()), current: parsed.current };
  } catch {
    return { sessions: [], current: "" };
  }
}

function write(next: State) {
  state = next;
  sessionStorage.setItem(STORAGE, JSON.stringify(state));
  for (const listener of listeners) listener();
}

channel?.addEventListener("message", (e: MessageEvent<{ ask?: true; have?: State; signedOut?: string }>) => {
  if (e.data.ask && state.sessions.length > 0) channel.postMessage({ have: state });
  if (e.data.have && state.sessions.length === 0) write(e.data.have);
  if (e.data.signedOut) forget(e.data.signedOut);
});

/** askOtherTabs waits a moment for another tab of this browser to send its sessions. */
export async function askOtherTabs() {
  if (!channel || state.sessions.length > 0) return;
  channel.postMessage({ ask: true });
  await new Promise<void>((done) => {
    const stop = () => {
      listeners.delete(stop);
      clearTimeout(late);
      done();
    };
    const late = setTimeout(stop, 150);
    listeners.add(stop);
  });
}

/** onSessionsChange calls a function after each change of the sessions. */
export const onSessionsChange = (changed: () => void) => {
  listeners.add(changed);
};

export const sessions = () => state.sessions;

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const currentSession = () => state.sessions.find((s) => keyOf(s) === state.current);

export function useSession(): Session {
  const s = useSyncExternalStore(subscribe, currentSession);
  if (!s) throw new SignInError("You are not signed in. Sign in again.");
  return s;
}

export const useSessions = () => useSyncExternalStore(subscribe, () => state.sessions);
export const useSignedIn = () => useSyncExternalStore(subscribe, () => state.current && currentSession() !== undefined);

export const switchTo = (key: string) => write({ ...state, current: key });

function forget(key: string) {
  const sessions = state.sessions.filter((s) => keyOf(s) !== key);
  const current = state.current === key ? (sessions[0] ? keyOf(sessions[0]) : "") : state.current;
  write({ sessions, current });
}

/** signOut deletes a session in all tabs. Its token stays valid until it expires, but no tab keeps it. */
export function signOut(key: string) {
  forget(key);
  channel?.postMessage({ signedOut: key });
}

/** endSession deletes the session of a token that the server rejected. */
export function endSession(token: string) {
  const s = state.sessions.find((s) => s.token === token);
  if (s) forget(keyOf(s));
}

async function requestToken(form: Record<string, string>): Promise<{ token: string; expiresAt: number }> {
  let response: Response;
  try {
    response = await fetch("/oauth2/token", { method: "POST", body: new URLSearchParams(form) });
  } catch {
    throw new SignInError("The server cannot be reached. Check the connection, then retry.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new SignInError(body.error_description ?? body.detail ?? `The server returned status ${response.status}.`);
  return { token: body.access_token, expiresAt: Date.now() + body.expires_in * 1000 };
}

/** signIn exchanges the credentials in the form for a token, reads the caller's identity, and makes this the current session. */
export async function signIn(form: Record<string, string>) {
  const { token, expiresAt } = await requestToken(form);
  const response = await fetch("/v1/whoami", { headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) throw new SignInError(`The server rejected the new token with status ${response.status}.`);
  const { kind, id, name, role, tenantId, tenantName } = (await response.json()) as Identity;
  const session: Session = { kind, id, name, role, tenantId, tenantName, token, expiresAt };
  const key = keyOf(session);
  write({ sessions: [...state.sessions.filter((s) => keyOf(s) !== key), session], current: key });
}

/** renew exchanges tokens that expire soon for new ones. If that fails, the session keeps its token until it expires. */
async function renew() {
  for (const s of state.sessions) {
    if (s.expiresAt - Date.now() > RENEW_BEFORE) continue;
    const form = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: s.token,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    };
    try {
      const renewed = await requestToken(form);
      write({ ...state, sessions: state.sessions.map((o) => (o.token === s.token ? { ...o, ...renewed } : o)) });
    } catch {
      if (s.expiresAt <= Date.now()) forget(keyOf(s));
    }
  }
}

/** keepSignedIn renews tokens while the page is open. */
export function keepSignedIn() {
  const tick = () => {
    if (renewing) return;
    renewing = true;
    void renew().finally(() => {
      renewing = false;
    });
  };
  tick();
  setInterval(tick, 30_000);
  document.addEventListener("visibilitychange", tick); // timers do not run while the machine is suspended
}
