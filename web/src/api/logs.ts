// A container's log as it grows. It is taken up behind the last line that arrived, so no line is lost or told twice.
import { plain } from "../lib/plain";
import { ApiError, problemOf, unreachable } from "./client";
import { currentSession } from "./session";
import { lines } from "./streams";

export interface LogLine {
  time: string;
  stream: "stdout" | "stderr";
  line: string;
  cursor: string;
}

interface Follow {
  podId: string;
  container: string;
  tail: number;
  signal: AbortSignal;
  line: (line: LogLine) => void;
  trouble: (err: unknown) => void;
}

const WAIT = 1_500;

/** followLog tells lines until the signal is given, or the container has ended for good. */
export async function followLog({ podId, container, tail, signal, line, trouble }: Follow) {
  let after: string | undefined;
  while (!signal.aborted) {
    try {
      const query = new URLSearchParams({ container, follow: "true", ...(after ? { after } : { tail: String(tail) }) });
      const token = currentSession()?.token;
      const answer = await fetch(`/v1/pods/${podId}/logs?${query}`, {
        headers: { Authorization: `Bearer ${token}`, Accept: "application/x-ndjson" },
        signal,
      });
      if (!answer.ok || !answer.body) throw await problemOf(answer, token);
      for await (const text of lines(answer.body)) {
        const l = JSON.parse(text) as LogLine;
        after = l.cursor;
        line({ ...l, line: plain(l.line) });
      }
    } catch (err) {
      if (signal.aborted) return;
      const shown = err instanceof ApiError ? err : unreachable();
      trouble(shown);
      if (shown.status === 401 || shown.status === 403 || shown.status === 404) return;
    }
    await new Promise((done) => setTimeout(done, WAIT));
  }
}
