// SPDX-License-Identifier: Apache-2.0

// Makes examples of answers from the API's contract.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  example?: unknown;
  examples?: unknown[];
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  minimum?: number;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  allOf?: Schema[];
  oneOf?: Schema[];
  anyOf?: Schema[];
}

interface Content {
  schema?: Schema;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}

interface Response {
  $ref?: string;
  content?: Record<string, Content>;
}

export interface Contract {
  paths: Record<string, Record<string, { responses?: Record<string, Response> }>>;
}

/** Answer is what the mock of an operation returns. */
export interface Answer {
  status: number;
  type?: string; // of the content, if there is one
  body?: unknown;
}

/** pointed returns what a reference in the contract means. */
function pointed<T extends { $ref?: string }>(contract: Contract, at: T): T {
  if (!at.$ref) return at;
  const found = at.$ref
    .slice(2)
    .split("/")
    .reduce<unknown>((o, key) => (o as Record<string, unknown>)[key], contract);
  return pointed(contract, found as T);
}

/** example makes a value of a schema: its example, if it has one. */
export function example(contract: Contract, schema: Schema, depth = 0): unknown {
  const s = pointed(contract, schema);
  const given = [s.example, s.examples?.[0], s.const, s.enum?.[0], s.default].find((v) => v !== undefined);
  if (given !== undefined) return given;
  if (s.allOf) return Object.assign({}, ...s.allOf.map((part) => example(contract, part, depth)));
  const choice = s.oneOf?.[0] ?? s.anyOf?.[0];
  if (choice) return example(contract, choice, depth);
  switch (Array.isArray(s.type) ? s.type[0] : s.type) {
    case "array":
      return s.items && depth < 8 ? [example(contract, s.items, depth + 1)] : [];
    case "integer":
    case "number":
      return s.minimum ?? 1;
    case "boolean":
      return false;
    case "string":
      return text(s.format);
    default:
      return Object.fromEntries(
        Object.entries(depth < 8 ? (s.properties ?? {}) : {}).map(([name, property]) => [name, example(contract, property, depth + 1)]),
      );
  }
}

function text(format?: string): string {
  if (format === "uuid") return "0d7b5f3c-9e84-4126-a3d8-c6f1b2e09457";
  if (format === "date-time") return new Date().toISOString();
  return format === "date" ? new Date().toISOString().slice(0, 10) : "text";
}

/** operationOf finds the path in the contract that a request means. A path without parameters comes before one with them. */
export function operationOf(contract: Contract, path: string): string | undefined {
  const parts = path.split("/");
  const fits = (template: string) => {
    const wanted = template.split("/");
    return wanted.length === parts.length && wanted.every((w, i) => w === parts[i] || (w.startsWith("{") && parts[i] !== ""));
  };
  return contract.paths[path] ? path : Object.keys(contract.paths).find(fits);
}

/** answerOf returns the example of an operation's success. The client says which types of content it prefers. */
export function answerOf(contract: Contract, method: string, path: string, accepts = ""): Answer {
  const template = operationOf(contract, path);
  const operation = template ? contract.paths[template]?.[method.toLowerCase()] : undefined;
  const success = Object.entries(operation?.responses ?? {}).find(([status]) => status.startsWith("2"));
  if (!success) {
    const detail = `The contract has no ${method} ${path} with an answer.`;
    return {
      status: 404,
      type: "application/problem+json",
      body: { type: "about:blank", title: "Not Found", status: 404, code: "not_found", detail },
    };
  }
  const contents = pointed(contract, success[1]).content ?? {};
  const type = Object.keys(contents).find((t) => accepts.includes(t)) ?? Object.keys(contents)[0];
  const content = type ? contents[type] : undefined;
  const named = Object.values(content?.examples ?? {})[0]?.value;
  const body = content ? (content.example ?? named ?? (content.schema ? example(contract, content.schema) : undefined)) : undefined;
  return { status: Number(success[0]), type, body };
}
