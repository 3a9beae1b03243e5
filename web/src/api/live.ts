// Lists that stay true by themselves: the API's watches. Streams are shared by who looks at the same list, told at most once a frame, taken up again
// when they break, and rest while nobody sees the page.
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { ApiError, problemOf, unreachable } from "./client";
import { unusedFeeds } from "./feeds";
import { currentSession, keyOf, useSession } from "./session";
import { serverSentEvents } from "./streams";

export type Kind = "pods" | "volumes" | "images" | "events";

export interface Live<T> {
  items: T[]; // oldest first
  synced: boolean; // all that there are have arrived
  broken?: ApiError; // why the stream is not there at the moment
}

interface Named {
  id: string;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const REST_AFTER = 30_000; // milliseconds out of sight

class Feed<T extends Named> {
  state: Live<T> = { items: [], synced: false };
  private held = new Map<string, T>();
  private listeners = new Set<() => void>();
  private stop?: AbortController;
  private drawing = false;
  private restTimer?: ReturnType<typeof setTimeout>;
  private readonly url: string;
  private readonly token: () => string | undefined;

  constructor(url: string, token: () => string | undefined) {
    this.url = url;
    this.token = token;
  }

  get used() {
    return this.listeners.size > 0;
  }

  subscribe = (tell: () => void) => {
    this.listeners.add(tell);
    if (this.listeners.size === 1) {
      document.addEventListener("visibilitychange", this.seen);
      this.start();
    }
    return () => {
      this.listeners.delete(tell);
      if (this.listeners.size === 0) {
        document.removeEventListener("visibilitychange", this.seen);
        this.end();
      }
    };
  };

  private seen = () => {
    clearTimeout(this.restTimer);
    if (document.visibilityState === "visible") this.start();
    else this.restTimer = setTimeout(() => this.end(), REST_AFTER);
  };

  private start() {
    if (this.stop) return;
    this.stop = new AbortController();
    void this.run(this.stop.signal);
  }

  private end() {
    clearTimeout(this.restTimer);
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
        this.tell({ ...this.state, broken });
        if (broken.status === 401 || broken.status === 403) return;
      }
      await new Promise((done) => setTimeout(done, wait * (0.5 + Math.random() / 2)));
    }
  }

  private async follow(signal: AbortSignal, arrived: () => void) {
    const token = this.token();
    const answer = await fetch(this.url, { headers: { Authorization: `Bearer ${token}` }, signal });
    if (!answer.ok || !answer.body) throw await problemOf(answer, token);
    // The stream begins with all that there are; what is not among them has gone meanwhile.
    let fresh: Map<string, T> | undefined = new Map();
    for await (const e of serverSentEvents(answer.body)) {
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
    throw unreachable(); // a watch does not end by itself
  }

  private draw() {
    if (this.drawing) return;
    this.drawing = true;
    setTimeout(() => {
      this.drawing = false;
      this.tell({ items: [...this.held.values()], synced: true });
    }, 30);
  }

  private tell(state: Live<T>) {
    this.state = state;
    for (const tell of this.listeners) tell();
  }
}

const feeds = new Map<string, Feed<Named>>();

// How many feeds are kept, with what they last showed, so that going back to a page shows it at once.
const MOST_FEEDS = 12;

/** useLive is a list that stays true. The parameters are those of the list's operation. */
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
    const made = new Feed<Named>(`/v1/${kind}?${query}`, token);
    feeds.set(key, made);
    return made;
  }, [key, kind, query, owner]);
  useEffect(() => {
    for (const old of unusedFeeds(feeds, MOST_FEEDS)) feeds.delete(old);
  }); // after each drawing, when the page has subscribed to what it uses
  return useSyncExternalStore(feed.subscribe, () => feed.state) as Live<T>;
}
