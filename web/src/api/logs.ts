// SPDX-License-Identifier: Apache-2.0

// Follows a container's log. After an interruption it continues after the last received line, so no line is lost or repeated.
import { plain } from "../lib/plain";
import { ApiError, problemOf, unreachable } from "./client";
import { currentSession } from "./session";
import { lines, withinSilence } from "./streams";

export interface LogLine {
  time: string;
  stream: "stdout" | "stderr";
  line: string;
  partial?: boolean; // has no newline: the stream's next line continues it
  droppedBytes?: number; // how many bytes of output are missing before this line
  dropped?: number; // how many lines are missing, if the pod was started by an earlier version of Husk
  cursor: string;
}

interface Follow {
  podId: string;
  container: string;
  tail: number;
  signal: AbortSignal;
  line: (line: LogLine) => void;
  connected: () => void;
  failed: (err: unknown) => void;
}

const WAIT = 1_500;

/** followLog passes on lines until the signal aborts it, or a request fails with an error that a retry cannot fix. */
export async function followLog({ podId, container, tail, signal, line, connected, failed }: Follow) {
  let after: string | undefined;
  while (!signal.aborted) {
    const attempt = new AbortController(); // ends this connection, if it is silent
    try {
      const query = new URLSearchParams({ container, follow: "true", heartbeat: "true", ...(after ? { after } : { tail: String(tail) }) });
      const token = currentSession()?.token;
      const response = await withinSilence(
        fetch(`/v1/pods/${podId}/logs?${query}`, {
          headers: { Authorization: `Bearer ${token}`, Accept: "application/x-ndjson" },
          signal: AbortSignal.any([signal, attempt.signal]),
        }),
      );
      if (!response.ok || !response.body) throw await problemOf(response, token);
      connected();
      for await (const text of lines(response.body)) {
        if (text === "") continue; // a heartbeat
        const l = JSON.parse(text) as LogLine;
        after = l.cursor;
        line({ ...l, line: plain(l.line) });
      }
    } catch (err) {
      if (signal.aborted) return;
      const shown = err instanceof ApiError ? err : unreachable();
      failed(shown);
      if (shown.status === 401 || shown.status === 403 || shown.status === 404) return;
    } finally {
      attempt.abort();
    }
    await new Promise((done) => setTimeout(done, WAIT));
  }
}
