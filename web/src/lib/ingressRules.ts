// SPDX-License-Identifier: Apache-2.0

// Rules of ingresses as text: one on each line, as HOST[/PATH[$]]=SERVICE:PORT. A path that ends with $ is exact. The command line has the same form.
import type { Schemas } from "../api/client";

type Rule = Schemas["IngressRule"];

const FORM = /^([^/=\s]+)(\/[^=\s]*)?=([^:=\s]+):(\d{1,5})$/;

/** parseRules reads the lines of a text. It throws an error that names the first line that is not a rule. */
export function parseRules(text: string): Rule[] {
  const rules: Rule[] = [];
  for (const line of text.split("\n").map((l) => l.trim())) {
    if (!line) continue;
    const [, host, path, service, port] = FORM.exec(line) ?? [];
    if (!host || !service) throw new Error(`${line} is not a rule. Write www.example.com=web:80 or www.example.com/api=api:8080.`);
    let rule = rules.find((r) => r.host === host);
    if (!rule) {
      rule = { host, paths: [] };
      rules.push(rule);
    }
    const exact = path?.endsWith("$");
    const below = exact ? path?.slice(0, -1) : path;
    rule.paths.push({ ...(below && (exact || below !== "/") && { path: below }), ...(exact && { exact }), service, port: Number(port) });
  }
  return rules;
}

/** ruleLines is the reverse of parseRules. */
export const ruleLines = (rules: Rule[]) =>
  rules.flatMap((r) =>
    r.paths.map((p) => `${r.host}${p.exact ? `${p.path ?? "/"}$` : p.path && p.path !== "/" ? p.path : ""}=${p.service}:${p.port}`),
  );
