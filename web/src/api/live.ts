// SPDX-License-Identifier: Apache-2.0

// Lists that update themselves with the watches of the API. Components that show the same list share a stream. A stream notifies them at most
// once per frame, reconnects after an error, and is closed when the page has been hidden for a while.
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { ApiError, problemOf, unreachable } from "./client";
import { reconnected } from "./connection";
import { unusedFeeds } from "./feeds";
import { currentSession, keyOf, useSession } from "./session";
import { serverSentEvents, withinSilence } from "./streams";

export type Kind =
  | "pods"
  | "volumes"
  | "snapshots"
  | "networks"
  | "services"
  | "ingresses"
  | "addresses"
  | "security-groups"
  | "images"
  | "events";

export interface Live<T> {
  items: T[]; // oldest first
  synced: boolean; // every existing item has arrived
  broken?: ApiError; // why the stream is not connected
}

interface Named {
  id: string;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const PAUSE_AFTER = 30_000; // milliseconds; streams are closed when the page has been hidden for longer

class Feed<T extends Named> {
  state: Live<T> = { items: [], synced: false };
  private held = new Map<string, T>();
  private listeners = new Set<() => void>();
  private stop?: AbortController;
  private drawing = false;
  private pauseTimer?: ReturnType<typeof setTimeout>;
  private readonly url: string;
  private readonly token: () => string | undefined;

  constructor(url: string, token: () => string | undefined) {
    this.url = url;
    this.token = token;
  }

  get used() {
    return this.listeners.size > 0;
  }

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    if (this.listeners.size === 1) {
      document.addEventListener("visibilitychange", this.visibilityChanged);
      this.start();
    }
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        document.removeEventListener("visibilitychange", this.visibilityChanged);
        this.end();
      }
    };
  };

  private visibilityChanged = () => {
    clearTimeout(this.pauseTimer);
    if (document.visibilityState === "visible") this.start();
    else this.pauseTimer = setTimeout(() => this.end(), PAUSE_AFTER);
  };

  private start() {
    if (this.stop) return;
    this.stop = new AbortController();
    void this.run(this.stop.signal);
  }

  private end() {
    clearTimeout(this.pauseTimer);
    this.stop?.abort();
    this.stop = undefined;
  }

  private async run(signal: AbortSignal) {
    for (let wait = FIRST_WAIT; !signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        await this.follow(signal, () => {
          wait = FIRST_WAIT;
        });
      } catch (err) {
        if (signal.aborted) return;
        const broken = err instanceof ApiError ? err : unreachable();
        this.publish({ ...this.state, broken });
        if (broken.status === 401 || broken.status === 403) return;
      }
      await Promise.race([new Promise((done) => setTimeout(done, wait * (0.5 + Math.random() / 2))), reconnected()]);
    }
  }

  private async follow(signal: AbortSignal, arrived: () => void) {
    const token = this.token();
    const attempt = new AbortController(); // ends this connection, if it is silent
    const once = AbortSignal.any([signal, attempt.signal]);
    try {
      await this.read(token, once, arrived);
    } finally {
      attempt.abort();
    }
  }

  private async read(token: string | undefined, signal: AbortSignal, arrived: () => void) {
    const response = await withinSilence(fetch(this.url, { headers: { Authorization: `Bearer ${token}` }, signal }));
    if (!response.ok || !response.body) throw await problemOf(response, token);
    // The stream starts with every existing item. Items that are missing from it were deleted while the stream was down.
    let fresh: Map<string, T> | undefined = new Map();
    for await (const e of serverSentEvents(response.body)) {
      if (e.event === "synced") {
        this.held = fresh ?? this.held;
        fresh = undefined;
        arrived();
        this.draw();
        continue;
      }
      const item = JSON.parse(e.data) as T;
      const into = fresh ?? this.held;
      if (e.event === "deleted") into.delete(item.id);
      else into.set(item.id, item);
      if (!fresh) this.draw();
    }
    throw unreachable(); // the server does not end a watch
  }

  private draw() {
    if (this.drawing) return;
    this.drawing = true;
    setTimeout(() => {
      this.drawing = false;
      this.publish({ items: [...this.held.values()], synced: true });
    }, 30);
  }

  private publish(state: Live<T>) {
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}

const feeds = new Map<string, Feed<Named>>();

// How many feeds are kept with their last items, so that a page that is opened again shows them immediately.
const MAX_FEEDS = 12;

/** useLive returns a list that updates itself. The parameters are those of the list operation. */
export function useLive<T extends Named>(kind: Kind, params: Record<string, string> = {}): Live<T> {
  const session = useSession();
  const owner = keyOf(session);
  const query = new URLSearchParams({ ...params, watch: "true" }).toString();
  const key = `${owner} ${kind}?${query}`;
  const feed = useMemo(() => {
    const known = feeds.get(key);
    if (known) return known;
    const token = () => {
      const s = currentSession();
      return s && keyOf(s) === owner ? s.token : undefined;
    };
    const created = new Feed<Named>(`/v1/${kind}?${query}`, token);
    feeds.set(key, created);
    return created;
  }, [key, kind, query, owner]);
  useEffect(() => {
    for (const old of unusedFeeds(feeds, MAX_FEEDS)) feeds.delete(old);
  }); // after each render, when the page has subscribed to the feeds that it uses
  return useSyncExternalStore(feed.subscribe, () => feed.state) as Live<T>;
}
