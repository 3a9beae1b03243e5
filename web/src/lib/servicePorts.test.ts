// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { parsePorts, portText } from "./servicePorts";

test("ports are read from lines, and written in the same way", () => {
  const text = "80\nhttp=81:8080\n dns=53/udp \n\n443:8443/TCP";
  const ports = parsePorts(text);
  expect(ports).toEqual([
    { port: 80 },
    { name: "http", port: 81, targetPort: 8080 },
    { name: "dns", port: 53, protocol: "UDP" },
    { port: 443, targetPort: 8443, protocol: "TCP" },
  ]);
  expect(ports.map(portText)).toEqual(["80", "http=81:8080", "dns=53/udp", "443:8443"]);
});

test("a line that is not a port is named", () => {
  for (const bad of ["x", "80:", "http:80", "80/sctp", "=80", "123456"]) expect(() => parsePorts(`80\n${bad}`)).toThrow(bad);
});
