// SPDX-License-Identifier: Apache-2.0

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** BlackHole is a proxy for TCP connections that can swallow everything: connections stay open, and nothing passes in either direction. */
export class BlackHole {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private swallows = false;

  private constructor(to: URL) {
    this.server = createServer((from) => {
      const onward = connect(Number(to.port), to.hostname);
      for (const [a, b] of [
        [from, onward],
        [onward, from],
      ] as const) {
        this.sockets.add(a);
        a.on("data", (bytes) => this.swallows || b.write(bytes));
        a.on("error", () => b.destroy());
        a.on("close", () => {
          this.sockets.delete(a);
          b.destroy();
        });
      }
    });
  }

  static async open(to: string): Promise<BlackHole> {
    const proxy = new BlackHole(new URL(to));
    await new Promise<void>((done) => proxy.server.listen(0, "127.0.0.1", done));
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** swallow begins or ends the loss of all packets. What was swallowed is lost, so the old connections end with it. */
  swallow(on: boolean) {
    this.swallows = on;
    if (!on) for (const s of this.sockets) s.destroy();
  }

  close() {
    for (const s of this.sockets) s.destroy();
    this.server.close();
  }
}
