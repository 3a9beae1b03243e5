// SPDX-License-Identifier: Apache-2.0

// Selectors of labels, in the syntax of Kubernetes (docs/api.md, Lists). The server has checked what is parsed here.

type Labels = Record<string, string>;
type Requirement = (labels: Labels) => boolean;

/** selects says whether a selector selects labels. An empty selector selects nothing. */
export function selects(selector: string, labels: Labels): boolean {
  const all = requirements(selector);
  return all.length > 0 && all.every((r) => r(labels));
}

function requirements(selector: string): Requirement[] {
  return selector
    .split(/,(?![^(]*\))/) // commas outside of parentheses
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(requirement);
}

function requirement(text: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(text);
  if (set) {
    const [, key = "", operator, values = ""] = set;
    const among = new Set(values.split(",").map((v) => v.trim()));
    return operator === "in" ? (l) => key in l && among.has(l[key] ?? "") : (l) => !(key in l) || !among.has(l[key] ?? "");
  }
  if (text.startsWith("!")) {
    const key = text.slice(1).trim();
    return (l) => !(key in l);
  }
  const pair = /^([^=!]+?)\s*(!=|==?)\s*(.*)$/.exec(text);
  if (!pair) return (l) => text in l;
  const [, key = "", operator, value = ""] = pair;
  return operator === "!=" ? (l) => l[key] !== value : (l) => l[key] === value;
}
