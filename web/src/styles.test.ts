// SPDX-License-Identifier: Apache-2.0

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const ROOT = new URL(".", import.meta.url).pathname;
const FILES = readdirSync(ROOT, { recursive: true, encoding: "utf8" });
const ending = (...ends: string[]) => FILES.filter((f) => ends.some((e) => f.endsWith(e)));
const read = (file: string) => readFileSync(ROOT + file, "utf8");
const classesOf = (css: string) =>
  new Set([...css.replaceAll(/\/\*.*?\*\/|:global\([^)]*\)/gs, "").matchAll(/\.([a-zA-Z][\w-]*)/g)].map((m) => m[1] ?? ""));

/** TEXT are the classes of styles/base.css that any page can use. */
const TEXT = classesOf(read("styles/base.css"));

/** BY_VALUE are modules with classes that are chosen by a value, such as a tone. */
const BY_VALUE = ["ui/Badge", "ui/Button", "ui/Meter", "pages/admin/Packing"];

test("a module of styles has the classes that its components use, and no others", () => {
  const wrong: string[] = [];
  const used = new Map<string, Set<string>>();
  for (const file of ending(".ts", ".tsx")) {
    const source = read(file);
    const from = /^import styles from "(.*)";/m.exec(source)?.[1];
    if (!from) continue;
    const module = new URL(from, `file:///${file}`).pathname.slice(1);
    const classes = classesOf(read(module));
    const names = used.get(module) ?? new Set();
    used.set(module, names);
    for (const [, name = ""] of source.matchAll(/\bstyles\.(\w+)/g)) {
      names.add(name);
      if (!classes.has(name)) wrong.push(`${file} uses the class ${name}, which ${module} does not have`);
    }
  }
  for (const module of ending(".module.css")) {
    const names = used.get(module);
    if (!names) wrong.push(`nothing uses ${module}`);
    else if (!BY_VALUE.some((m) => module === `${m}.module.css`))
      for (const name of classesOf(read(module))) if (!names.has(name)) wrong.push(`nothing uses the class ${name} of ${module}`);
  }
  expect(wrong).toEqual([]);
});

test("words in className are classes of text", () => {
  const wrong: string[] = [];
  for (const file of ending(".tsx"))
    for (const [, words = ""] of read(file).matchAll(/className="([^"]*)"/g))
      for (const word of words.split(" ")) if (!TEXT.has(word)) wrong.push(`${file}: ${word}`);
  expect(wrong).toEqual([]);
});

test("a module of styles is next to its component", () => {
  const alone = ending(".module.css").filter((m) => !FILES.includes(m.replace(".module.css", ".tsx")));
  expect(alone).toEqual([]);
});
