// Who has signed in. A tab can be signed in to several tenants at once; one of them is the current one. Tokens live in sessionStorage, so they
// end with the last tab; a new tab asks the others for what they have. API key secrets are used once and kept nowhere.
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
const RENEW_BEFORE = 5 * 60_000; // milliseconds before a token ends

/** keyOf tells sessions apart: one person may be signed in to a tenant once. */
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
  for (const tell of listeners) tell();
}

channel?.addEventListener("message", (e: MessageEvent<{ ask?: true; have?: State; gone?: string }>) => {
  if (e.data.ask && state.sessions.length > 0) channel.postMessage({ have: state });
  if (e.data.have && state.sessions.length === 0) write(e.data.have);
  if (e.data.gone) forget(e.data.gone);
});

/** askOtherTabs waits a moment for another tab of this browser to hand over what it is signed in to. */
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

const subscribe = (tell: () => void) => {
  listeners.add(tell);
  return () => listeners.delete(tell);
};

export const currentSession = () => state.sessions.find((s) => keyOf(s) === state.current);

export function useSession(): Session {
  const s = useSyncExternalStore(subscribe, currentSession);
  if (!s) throw new SignInError("nobody is signed in");
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

/** signOut forgets a session in all tabs. Its token is good until it ends, but nobody has it any more. */
export function signOut(key: string) {
  forget(key);
  channel?.postMessage({ gone: key });
}

/** endSession is for a token that the server refuses. */
export function endSession(token: string) {
  const s = state.sessions.find((s) => s.token === token);
  if (s) forget(keyOf(s));
}

async function askForToken(form: Record<string, string>): Promise<{ token: string; expiresAt: number }> {
  let answer: Response;
  try {
    answer = await fetch("/oauth2/token", { method: "POST", body: new URLSearchParams(form) });
  } catch {
    throw new SignInError("The server cannot be reached. Try again.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new SignInError(body.error_description ?? body.detail ?? `The server answers with status ${answer.status}.`);
  return { token: body.access_token, expiresAt: Date.now() + body.expires_in * 1000 };
}

/** signIn gets a token for what is in the form, finds out whose it is, and makes it the current session. */
export async function signIn(form: Record<string, string>) {
  const { token, expiresAt } = await askForToken(form);
  const answer = await fetch("/v1/whoami", { headers: { Authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new SignInError(`The token was not taken: status ${answer.status}.`);
  const { kind, id, name, role, tenantId, tenantName } = (await answer.json()) as Identity;
  const session: Session = { kind, id, name, role, tenantId, tenantName, token, expiresAt };
  const key = keyOf(session);
  write({ sessions: [...state.sessions.filter((s) => keyOf(s) !== key), session], current: key });
}

/** renew exchanges tokens that end soon for younger ones. One that the server does not renew stays until it ends. */
async function renew() {
  for (const s of state.sessions) {
    if (s.expiresAt - Date.now() > RENEW_BEFORE) continue;
    const form = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: s.token,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    };
    try {
      const young = await askForToken(form);
      write({ ...state, sessions: state.sessions.map((o) => (o.token === s.token ? { ...o, ...young } : o)) });
    } catch {
      if (s.expiresAt <= Date.now()) forget(keyOf(s));
    }
  }
}

/** keepSignedIn renews tokens for as long as the page is open. */
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
  document.addEventListener("visibilitychange", tick); // timers sleep with the machine
}
