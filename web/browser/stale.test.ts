// SPDX-License-Identifier: Apache-2.0

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BlackHole } from "./blackHole";
import { limit } from "./limit";
import { Api, expectFaults, gone, haveImage, type Key, newContext, type Pod, settled, setup, signIn, until } from "./stack";

const owner = new Api(setup.owner);
const AT_ONCE = 9; // pages that are open at the same time
let pod: Pod;
let proxy: BlackHole;

beforeAll(async () => {
  proxy = await BlackHole.open(setup.api);
  await haveImage(owner, setup.busybox);
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "talks",
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [
        { name: "main", image: setup.busybox, args: ["sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 1; done"] },
      ],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
});

afterAll(async () => {
  proxy.close();
  await gone(owner, pod);
});

const TENANT = ["/", "/pods", "/pods/new", "/volumes", "/images", "/configs", "/services", "/ingresses", "/addresses", "/security-groups"];
const MORE = ["/networks", "/events", "/usage", "/access", "/audit"];
const TABS = ["overview", "metrics", "logs", "terminal", "console", "events", "placement", "spec"];
const OPERATOR = ["/admin/nodes", "/admin/tenants", "/admin/usage", "/admin/audit"];
const pages: [Key, () => string][] = [
  ...[...TENANT, ...MORE].map((path): [Key, () => string] => [setup.owner, () => path]),
  ...TABS.map((tab): [Key, () => string] => [setup.owner, () => `/pods/${pod.id}?tab=${tab}`]),
  ...OPERATOR.map((path): [Key, () => string] => [setup.operator, () => path]),
];

async function opened(key: Key, path: string): Promise<Page> {
  const page = await (await newContext()).newPage();
  expectFaults(/net::ERR|Failed to load resource|WebSocket/); // while the network swallows packets
  await page.goto(`${proxy.url}/ui${path}`);
  await signIn(page, key);
  await settled(page);
  if (path.endsWith("tab=terminal")) await page.locator(".xterm-rows", { hasText: "#" }).waitFor();
  if (path.endsWith("tab=logs")) await page.getByRole("log").locator("[data-index]").first().waitFor();
  return page;
}

const notice = (page: Page) => page.getByText("The server does not respond. This page shows the state of");

test("every page notices within 30 s that the network swallows its packets, and is repaired afterwards", {
  timeout: limit(400),
}, async () => {
  for (let i = 0; i < pages.length; i += AT_ONCE) {
    const some = await Promise.all(
      pages.slice(i, i + AT_ONCE).map(async ([key, path]) => ({ path: path(), page: await opened(key, path()) })),
    );
    proxy.swallow(true);
    const began = Date.now();
    const late: string[] = [];
    await Promise.all(
      some.map(({ page, path }) =>
        notice(page)
          .waitFor({ timeout: 30_000 })
          .catch(() => late.push(path)),
      ),
    );
    expect(late).toEqual([]);
    console.log(`${some.length} pages noticed it within ${((Date.now() - began) / 1000).toFixed(1)} s`);
    for (const { page, path } of some) {
      if (path.endsWith("tab=logs")) await page.getByText("This log is not up to date").waitFor({ timeout: 30_000 });
      if (path.endsWith("tab=terminal")) await page.getByText("The connection to the pod was lost").waitFor({ timeout: 30_000 });
    }
    proxy.swallow(false);
    await Promise.all(some.map(({ page }) => notice(page).waitFor({ state: "detached", timeout: limit(30) })));
    for (const { page, path } of some) {
      if (path.endsWith("tab=logs")) {
        await page.getByText("This log is not up to date").waitFor({ state: "detached" });
        const last = () => page.getByRole("log").locator("[data-index]").last().innerText();
        const before = await last();
        await until("the log continues", async () => (await last()) !== before, 20);
      }
      if (path === "/pods") {
        await owner.ok("PATCH", `/v1/pods/${pod.id}`, { labels: { repaired: "yes" } });
        await page.getByText("repaired=yes").waitFor();
      }
    }
    await Promise.all(some.map(({ page }) => page.context().close()));
  }
});

test("a log and a terminal without output are not taken for stale", { timeout: limit(120) }, async () => {
  const quiet = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "quiet",
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args: ["sh", "-c", "echo once; sleep 100000"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${quiet.id}`)).status.phase === "Running", 90);
  const [log, terminal] = await Promise.all([
    opened(setup.owner, `/pods/${quiet.id}?tab=logs`),
    opened(setup.owner, `/pods/${quiet.id}?tab=terminal`),
  ]);
  await log.waitForTimeout(28_000); // longer than a stream may be silent
  expect(await log.locator("[data-index]").allInnerTexts()).toEqual([expect.stringContaining("once")]);
  expect(await log.getByText("not up to date").count()).toBe(0);
  expect(await terminal.getByText("The connection to the pod was lost").count()).toBe(0);
  await terminal.locator(".xterm-helper-textarea").focus();
  await terminal.keyboard.type("echo still-$((6*7))\n");
  await terminal.locator(".xterm-rows", { hasText: "still-42" }).waitFor();
  await gone(owner, quiet);
});
