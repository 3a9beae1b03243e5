// SPDX-License-Identifier: Apache-2.0

// Whether the server responds. Every page asks it regularly, because a page without a stream would not notice that the network swallows its packets.
import { useSyncExternalStore } from "react";

const EVERY = 8_000; // milliseconds
const PATIENCE = 8_000; // how long a response may take

let lostAt: number | undefined; // when the last response came, if the server does not respond now
let lastAt = Date.now();
const listeners = new Set<() => void>();
let waiting: (() => void)[] = [];

function set(lost: number | undefined) {
  if ((lost === undefined) === (lostAt === undefined)) return;
  lostAt = lost;
  if (lost === undefined) {
    for (const go of waiting) go();
    waiting = [];
  }
  for (const listener of listeners) listener();
}

/** reconnected resolves when the server responds again. If it responds now, it never resolves. */
export const reconnected = () =>
  new Promise<void>((done) => {
    if (lostAt !== undefined) waiting.push(done);
  });

/** heard notes that something has arrived from the server. A browser that has too many requests open at a time sends no other. */
export function heard() {
  lastAt = Date.now();
}

async function ask() {
  try {
    const response = await fetch("/healthz", { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    await response.arrayBuffer();
    heard();
    set(undefined);
  } catch {
    if (Date.now() - lastAt > PATIENCE) set(lastAt);
  }
}

/** watchConnection asks the server regularly while the page is visible. It returns a function that ends this. */
export function watchConnection() {
  let busy = false;
  const tick = () => {
    if (busy || document.visibilityState === "hidden") return;
    busy = true;
    void ask().finally(() => {
      busy = false;
    });
  };
  const timer = setInterval(tick, EVERY);
  for (const event of ["online", "offline", "focus"]) window.addEventListener(event, tick);
  return () => {
    clearInterval(timer);
    for (const event of ["online", "offline", "focus"]) window.removeEventListener(event, tick);
  };
}

/** useLostAt returns when the last response came, if the server does not respond, and undefined if it does. */
export const useLostAt = () =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => lostAt,
  );
