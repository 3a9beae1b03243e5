// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { parseRules, ruleLines } from "./ingressRules";

test("rules are read from lines, and written in the same way", () => {
  const text = "www.example.com=web:80\n\n shop.example.com/=web:80 \nwww.example.com/api/v1=api:8080";
  const rules = parseRules(text);
  expect(rules).toEqual([
    {
      host: "www.example.com",
      paths: [
        { service: "web", port: 80 },
        { path: "/api/v1", service: "api", port: 8080 },
      ],
    },
    { host: "shop.example.com", paths: [{ service: "web", port: 80 }] },
  ]);
  expect(ruleLines(rules)).toEqual(["www.example.com=web:80", "www.example.com/api/v1=api:8080", "shop.example.com=web:80"]);
});

test("an exact path ends with $", () => {
  const lines = ["www.example.com/login$=login:80", "www.example.com/$=home:80", "www.example.com=web:80"];
  const rules = parseRules(lines.join("\n"));
  expect(rules[0]?.paths).toEqual([
    { path: "/login", exact: true, service: "login", port: 80 },
    { path: "/", exact: true, service: "home", port: 80 },
    { service: "web", port: 80 },
  ]);
  expect(ruleLines(rules)).toEqual(lines);
});

test("a line that is not a rule is named", () => {
  for (const bad of ["x", "www.example.com", "www.example.com=web", "www.example.com=web:http", "=web:80"])
    expect(() => parseRules(`a.example.com=web:80\n${bad}`)).toThrow(bad);
});
