// SPDX-License-Identifier: Apache-2.0

// Parses the text streams of the API.

/** lines splits a stream of bytes into lines without line endings. It throws if a line exceeds the limit, so that a stream cannot exhaust the memory. */
export async function* lines(body: ReadableStream<Uint8Array>, longest = 4 << 20): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (held + value).split("\n");
      held = parts.pop() ?? "";
      for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
      if (held.length > longest) throw new Error("a line in the response is too long");
    }
    if (held) yield held;
  } finally {
    await reader.cancel().catch(() => undefined);
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
