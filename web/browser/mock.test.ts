// SPDX-License-Identifier: Apache-2.0

// Opens the pages of the dashboard without an installation: `npm run dev:mock` mocks the API.
import { type Browser, chromium, type Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { limit } from "./limit";

let vite: ViteDevServer;
let browser: Browser;

beforeAll(async () => {
  vite = await createServer({ mode: "mock", logLevel: "error", server: { port: 0, host: "127.0.0.1" } });
  await vite.listen();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
});

afterAll(async () => {
  await browser?.close();
  await vite?.close();
});

const LISTS = ["pods", "volumes", "configs", "images", "services", "ingresses", "security-groups", "addresses", "networks", "events"];
const TENANT = [...LISTS, "", "pods/new", "operations", "usage", "access", "audit"];
const OPERATOR = ["admin/nodes", "admin/tenants", "admin/platform", "admin/operations", "admin/usage", "admin/audit"];

async function signedIn(clientId: string) {
  const url = vite.resolvedUrls?.local[0] ?? "";
  const page = await browser.newPage();
  page.setDefaultTimeout(limit(30));
  await page.goto(`${url}login`);
  await page.getByLabel("Key ID").fill(clientId);
  await page.getByLabel("Secret").fill("any");
  await page.getByRole("button", { name: "Sign in with an API key" }).click();
  await page.locator("#content").waitFor();
  return { page, url };
}

/** visit opens pages and returns what is wrong with them. */
async function visit(clientId: string, paths: string[]) {
  const { page, url } = await signedIn(clientId);
  const errors: string[] = [];
  page.on("pageerror", (err) => errors.push(`${page.url()}: ${err.message}`));
  for (const path of paths) {
    await page.goto(`${url}${path}`);
    await loaded(page);
    const text = (await page.locator("#content").textContent()) ?? "";
    if (/cannot be reached|went wrong|no GET/i.test(text) || !text.trim()) errors.push(`${page.url()}: ${text.slice(0, 300)}`);
  }
  await page.close();
  return errors;
}

async function loaded(page: Page) {
  await page.locator("#content").waitFor();
  await page.waitForFunction(() => !document.querySelector("output[aria-busy=true]"));
}

test("A tenant's pages open with the mock", async () => {
  expect(await visit("a-tenant", TENANT)).toEqual([]);
});

test("A list shows the contract's example, which links to its page", async () => {
  const { page, url } = await signedIn("a-tenant");
  const { items } = (await (await fetch(`${new URL(url).origin}/v1/pods`)).json()) as { items: { name: string }[] };
  const name = items[0]?.name ?? "";
  await page.goto(`${url}pods`);
  await page.locator("#content").getByRole("link", { name, exact: true }).first().click();
  await page.locator("#content h1").getByText(name).waitFor();
  await page.close();
});

test("An operator's pages open with the mock", async () => {
  expect(await visit("operator", OPERATOR)).toEqual([]);
});
