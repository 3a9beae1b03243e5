// SPDX-License-Identifier: Apache-2.0

// The environment of the browser tests is a real installation with tenants and keys for the tests.
// test/e2e/dashboard starts it. Run them with `go test ./test/e2e/dashboard`. To run them by hand,
// set HUSK_BROWSER to the file that it writes.
import { readFileSync } from "node:fs";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { limit } from "./limit";

export interface Key {
  clientId: string;
  clientSecret: string;
}

interface Setup {
  api: string;
  nginx: string; // references of images in the registry, not imported
  busybox: string;
  broken: string; // an image in the registry that is no archive, so its import fails
  owner: Key; // of the tenant that the tests work in
  viewer: Key;
  fresh: Key; // owner of an empty tenant
  tenantName: string;
  stranger: Key; // owner of another tenant
  strangerName: string;
  busy: Key; // owner of the tenant whose operations are canceled and retried
  operator: Key;
  many: Key; // of a tenant with a quota of 10,000 pods
  issuer: string; // trusted by the installation
  user: { name: string; password: string; tenant: string };
}

export const setup = JSON.parse(readFileSync(process.env.HUSK_BROWSER ?? "browser.json", "utf8")) as Setup;

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Api calls the API directly, without the dashboard. */
export class Api {
  private token = "";
  private readonly key: Key;

  constructor(key: Key) {
    this.key = key;
  }

  async call<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    if (!this.token) {
      const form = new URLSearchParams({
        grant_type: "client_credentials",
        client_id: this.key.clientId,
        client_secret: this.key.clientSecret,
      });
      const response = await fetch(`${setup.api}/oauth2/token`, { method: "POST", body: form });
      if (!response.ok) throw new Error(`request a token for ${this.key.clientId}: ${response.status} ${await response.text()}`);
      this.token = ((await response.json()) as { access_token: string }).access_token;
    }
    const response = await fetch(setup.api + path, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
    const text = await response.text();
    return { status: response.status, body: (text ? JSON.parse(text) : undefined) as T };
  }

  /** ok is like call, but throws on errors. */
  async ok<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.call<T>(method, path, body);
    if (response.status >= 300) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(response.body)}`);
    return response.body;
  }
}

export interface Pod {
  id: string;
  name: string;
  status: { phase: string; address?: string };
}

/** until calls the function ask until that returns a result, or throws after the timeout. The timeout is in seconds on the reference machine. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>, seconds = 60): Promise<T> {
  for (const end = Date.now() + limit(seconds); ; ) {
    const result = await ask();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: timeout after ${limit(seconds) / 1000} s`);
    await new Promise((done) => setTimeout(done, 250));
  }
}

export async function haveImage(api: Api, reference: string) {
  const { id } = await api.ok<{ id: string }>("POST", "/v1/images", { reference });
  await until(`the import of ${reference}`, async () => (await api.ok<{ state: string }>("GET", `/v1/images/${id}`)).state === "Ready");
}

export async function gone(api: Api, pod: Pod) {
  await api.call("DELETE", `/v1/pods/${pod.id}`);
  await until(`the deletion of pod ${pod.name}`, async () => (await api.call("GET", `/v1/pods/${pod.id}`)).status === 404);
}

/** PLAIN is a name of the server with which pages are no secure context, as on plain HTTP in a network. */
export const PLAIN = "husk.example.com";

let browser: Browser;
const contexts: BrowserContext[] = [];
let faults: string[] = [];

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", `--host-resolver-rules=MAP ${PLAIN} 127.0.0.1`],
  });
});

afterAll(() => browser?.close());

// A test fails if a page violates its content security policy, throws an error, or runs a script
// from a tenant's text.
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((c) => c.close()));
  const found = faults;
  faults = [];
  expect(found).toEqual([]);
});

export interface Look {
  width: number;
  height: number;
  dark?: boolean;
}

export const DESKTOP: Look = { width: 1280, height: 800 };
export const LAPTOP: Look = { width: 1024, height: 768 };
export const WIDE: Look = { width: 1440, height: 900 };
export const PHONE: Look = { width: 390, height: 844 };

/** expected matches the errors that a test provokes. */
let expected: RegExp[] = [];
export const expectFaults = (...of: RegExp[]) => {
  expected = of;
};

export async function newContext(look: Look = DESKTOP): Promise<BrowserContext> {
  expected = [];
  const context = await browser.newContext({
    viewport: { width: look.width, height: look.height },
    colorScheme: look.dark ? "dark" : "light",
    reducedMotion: "reduce",
    baseURL: setup.api,
  });
  context.setDefaultTimeout(limit(30));
  contexts.push(context);
  context.on("page", watch);
  return context;
}

function watch(page: Page) {
  const fault = (text: string) => {
    if (!expected.some((e) => e.test(text))) faults.push(text);
  };
  page.on("pageerror", (err) => fault(`error on ${page.url()}: ${err.message}`));
  page.on("console", (m) => m.type() === "error" && fault(`console on ${page.url()}: ${m.text()}`));
  page.on("dialog", (d) => {
    fault(`a dialog on ${page.url()}: ${d.message()}`);
    void d.dismiss();
  });
}

/** signedIn opens the dashboard with a key. */
export async function signedIn(key: Key, look: Look = DESKTOP): Promise<Page> {
  const page = await (await newContext(look)).newPage();
  await page.goto("/");
  await signIn(page, key);
  return page;
}

export async function signIn(page: Page, key: Key) {
  await page.getByLabel("Key ID").fill(key.clientId);
  await page.getByLabel("Secret").fill(key.clientSecret);
  await page.getByRole("button", { name: "Sign in with an API key" }).click();
  await page.locator("#content").waitFor();
}

/** open loads a page and waits for its content. */
export async function open(page: Page, path: string) {
  await page.goto(`/ui${path}`);
  await page.locator("#content").waitFor();
  await settled(page);
}

/** settled waits until no part of the page is loading. */
export async function settled(page: Page) {
  await until(`the page ${page.url()} loads`, async () => (await page.locator("output[aria-busy=true]").count()) === 0, 20);
}
