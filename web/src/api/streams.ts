// SPDX-License-Identifier: Apache-2.0

// Parses the text streams of the API.
import { heard } from "./connection";

/** SILENCE is how long a stream of the API may be silent, in milliseconds. The server sends something every 10 or 15 seconds. */
export const SILENCE = 22_000;

/** SilentError is the end of a stream from which nothing has arrived for too long: the network swallows its packets. */
export class SilentError extends Error {}

/** withinSilence waits for a promise, but not longer than a stream may be silent. Timers of a page that was suspended end late, so it is enough if something has arrived then. */
export async function withinSilence<T>(wait: Promise<T>, silence = SILENCE): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silent = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SilentError("the server has sent nothing for too long")), silence);
  });
  try {
    return await Promise.race([wait, silent]);
  } finally {
    clearTimeout(timer);
  }
}

/** lines splits a stream of bytes into lines without line endings. It throws if a line exceeds the limit, so that a stream cannot exhaust the memory, and if the stream is silent for too long. */
export async function* lines(body: ReadableStream<Uint8Array>, longest = 4 << 20, silence = SILENCE): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await withinSilence(reader.read(), silence);
      if (done) break;
      heard();
      const parts = (held + value).split("\n");
      held = parts.pop() ?? "";
      for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
      if (held.length > longest) throw new Error("a line in the response is too long");
    }
    if (held) yield held;
  } finally {
    void reader.cancel().catch(() => undefined); // not awaited: a silent stream may not end
  }
}

export interface ServerSentEvent {
  event: string;
  data: string;
}

/** serverSentEvents parses events (WHATWG HTML, 9.2.6). It ignores the fields id and retry, which the API does not send. */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let event = "";
  let data: string[] = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length > 0) yield { event: event || "message", data: data.join("\n") };
      event = "";
      data = [];
    } else if (!line.startsWith(":")) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") event = value;
      if (name === "data") data.push(value);
    }
  }
}
