// SPDX-License-Identifier: Apache-2.0

// A session with a pod over a WebSocket. docs/api.md describes the frames; the first byte is the kind.
import { currentSession } from "./session";
import { SILENCE } from "./streams";

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const RESIZE = 3;
const EXIT = 6;
const PROBLEM = 7;
const CHUNK = 32 << 10; // bytes of input in a frame

export type Ending = { code: number } | { problem: string; detail: string };

export interface SessionHandlers {
  open?: () => void;
  output: (bytes: Uint8Array) => void;
  ended: (ending: Ending) => void;
}

export interface SessionSocket {
  send(text: string): void;
  resize(cols: number, rows: number): void;
  close(): void;
}

/** openSession opens a session with a pod. path includes the operation and its parameters, such as /v1/pods/ID/exec?command=sh. */
export function openSession(path: string, on: SessionHandlers): SessionSocket {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, ["husk.v1", `husk.bearer.${currentSession()?.token ?? ""}`]);
  socket.binaryType = "arraybuffer";
  let over = false;
  const end = (ending: Ending) => {
    if (over) return;
    over = true;
    clearInterval(watch);
    on.ended(ending);
  };
  const frame = (kind: number, payload: Uint8Array) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(payload.length + 1);
    message[0] = kind;
    message.set(payload, 1);
    socket.send(message);
  };
  const encoder = new TextEncoder();
  // The server sends an empty frame at once and every 10 seconds; servers of earlier versions do not. If nothing arrives, the network swallows
  // the packets.
  let heard = Date.now();
  let beats = false;
  const watch = setInterval(() => {
    if ((!beats && socket.readyState !== WebSocket.CONNECTING) || Date.now() - heard < SILENCE) return;
    end({ problem: "unreachable", detail: "The connection to the pod was lost: the server has sent nothing for too long." });
    socket.close();
  }, 1_000);
  socket.onopen = () => on.open?.();
  socket.onmessage = (e: MessageEvent<ArrayBuffer>) => {
    heard = Date.now();
    const message = new Uint8Array(e.data);
    const payload = message.subarray(1);
    switch (message[0]) {
      case STDOUT:
      case STDERR:
        beats ||= payload.length === 0;
        on.output(payload);
        break;
      case EXIT:
        end({ code: JSON.parse(new TextDecoder().decode(payload)).code });
        break;
      case PROBLEM: {
        const problem = JSON.parse(new TextDecoder().decode(payload));
        end({ problem: problem.code, detail: problem.detail });
        break;
      }
    }
  };
  socket.onclose = () => end({ problem: "unreachable", detail: "The connection to the pod was lost." });
  return {
    send(text) {
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length; at += CHUNK) frame(STDIN, bytes.subarray(at, at + CHUNK));
    },
    resize: (cols, rows) => frame(RESIZE, encoder.encode(JSON.stringify({ cols, rows }))),
    close() {
      over = true;
      clearInterval(watch);
      socket.close();
    },
  };
}
