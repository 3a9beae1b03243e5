// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { plain } from "../lib/plain";
import { lines, serverSentEvents } from "./streams";

const stream = (...chunks: string[]) =>
  new ReadableStream<Uint8Array>({
    start(c) {
      for (const chunk of chunks) c.enqueue(new TextEncoder().encode(chunk));
      c.close();
    },
  });

async function all<T>(of: AsyncGenerator<T>) {
  const found: T[] = [];
  for await (const x of of) found.push(x);
  return found;
}

test("lines are complete, however the stream is split into chunks", async () => {
  expect(await all(lines(stream("a", "b\nc\r\n", "\nrest")))).toEqual(["ab", "c", "", "rest"]);
});

test("a line without an end does not exhaust the memory", async () => {
  await expect(all(lines(stream("x".repeat(20), "x".repeat(20)), 30))).rejects.toThrow("too long");
});

test("a silent stream ends with an error, and a slow one does not", async () => {
  const silent = new ReadableStream<Uint8Array>({ start: (c) => c.enqueue(new TextEncoder().encode("a\n")) });
  await expect(all(lines(silent, 30, 20))).rejects.toThrow("nothing for too long");
  const slow = new ReadableStream<Uint8Array>({
    async start(c) {
      for (const part of ["a\n", "\n", "b\n"]) {
        await new Promise((done) => setTimeout(done, 30));
        c.enqueue(new TextEncoder().encode(part));
      }
      c.close();
    },
  });
  expect(await all(lines(slow, 30, 2_000))).toEqual(["a", "", "b"]);
});

test("events have their type and data, and comments are ignored", async () => {
  const text = ': ping\n\nevent: added\ndata: {"a":\ndata: 1}\n\ndata: x\n\nevent: lost\n';
  expect(await all(serverSentEvents(stream(text)))).toEqual([
    { event: "added", data: '{"a":\n1}' },
    { event: "message", data: "x" },
  ]);
});

test("a log line cannot control a terminal", () => {
  expect(plain("\u001b[31mred\u001b[0m \u001b]0;title\u0007plain\u0000\u001b(B \ttab")).toBe("red plain \ttab");
});
