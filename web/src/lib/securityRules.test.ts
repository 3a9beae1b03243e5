// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { parseRules, ruleText } from "./securityRules";

test("rules are read from lines, and written in the same way", () => {
  const text = "in tcp/80,8000-8010=web,198.51.100.0/24\n out any=db \n\nIN ICMP";
  const rules = parseRules(text);
  expect(rules).toEqual([
    {
      direction: "ingress",
      protocol: "TCP",
      ports: [{ port: 80 }, { port: 8000, endPort: 8010 }],
      peers: [{ group: "web" }, { cidr: "198.51.100.0/24" }],
    },
    { direction: "egress", protocol: "any", peers: [{ group: "db" }] },
    { direction: "ingress", protocol: "ICMP" },
  ]);
  expect(rules.map(ruleText)).toEqual(["in tcp/80,8000-8010=web,198.51.100.0/24", "out any=db", "in icmp"]);
});

test("a line that is not a rule is named", () => {
  for (const bad of ["x", "in", "in sctp", "tcp/80", "in tcp/a", "in tcp/80-", "in tcp 80"])
    expect(() => parseRules(`in tcp\n${bad}`)).toThrow();
});
