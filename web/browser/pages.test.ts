// SPDX-License-Identifier: Apache-2.0

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { limit } from "./limit";
import {
  Api,
  DESKTOP,
  gone,
  haveImage,
  type Key,
  LAPTOP,
  type Look,
  newContext,
  open,
  PHONE,
  type Pod,
  settled,
  setup,
  signedIn,
  until,
  WIDE,
} from "./stack";

const owner = new Api(setup.owner);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SHOTS = process.env.HUSK_SCREENSHOTS ?? "";
let pod: Pod;
let volume: { id: string };
let image: { id: string };
let service: { id: string };
let ingress: { id: string };
let group: { id: string };
const ids = { node: "", tenant: "" };

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  await haveImage(owner, setup.nginx);
  const { items: imported } = await owner.ok<{ items: { id: string }[] }>("GET", `/v1/images?reference=${encodeURIComponent(setup.nginx)}`);
  image = imported[0] ?? { id: "" };
  volume = await owner.ok("POST", "/v1/volumes", { name: "web-data", labels: { app: "web" }, sizeGiB: 10 });
  service = await owner.ok("POST", "/v1/services", { name: "shop", selector: "app=web", ports: [{ name: "http", port: 80 }] });
  ingress = await owner.ok("POST", "/v1/ingresses", {
    name: "shop",
    rules: [{ host: "shop.example.com", paths: [{ service: "shop", port: 80 }] }],
  });
  await owner.ok("POST", "/v1/addresses", { name: "shop", target: { serviceId: service.id } });
  await owner.ok("POST", "/v1/networks", { name: "back", cidr: "10.1.0.0/24", ipv6Cidr: "fd00:1::/64" });
  group = await owner.ok("POST", "/v1/security-groups", {
    name: "db",
    selector: "app=db",
    rules: [{ direction: "ingress", protocol: "TCP", ports: [{ port: 5432 }], peers: [{ group: "db" }] }],
  });
  await owner.ok("POST", "/v1/configs", { kind: "Config", name: "web-settings", values: { LOG_LEVEL: "info" } });
  const spec = { terminationGracePeriodSeconds: 1, resources: { cpuMillis: 500, memoryMiB: 128 } };
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "web",
    labels: { app: "web", tier: "front" },
    spec: {
      ...spec,
      networks: [{ network: "default" }, { network: "back" }],
      volumes: [{ name: "data", volumeId: volume.id }],
      containers: [
        { name: "nginx", image: setup.nginx, volumeMounts: [{ volume: "data", mountPath: "/usr/share/nginx/html", readOnly: true }] },
        {
          name: "writer",
          image: setup.busybox,
          args: [
            "sh",
            "-c",
            'i=0; while true; do i=$((i+1)); echo "$(date -u) page $i is written"; echo $i > /data/index.html; sleep 1; done',
          ],
          volumeMounts: [{ volume: "data", mountPath: "/data" }],
        },
      ],
    },
  });
  await owner.ok("POST", "/v1/pods", {
    name: "waits",
    labels: { app: "batch" },
    spec: { ...spec, containers: [{ name: "main", image: setup.busybox }], scheduling: { nodeSelector: { disk: "nvme" } } },
  });
  await owner.ok("POST", "/v1/pods", {
    name: "ends",
    labels: { app: "batch" },
    spec: {
      ...spec,
      restartPolicy: "Never",
      containers: [{ name: "main", image: setup.busybox, args: ["sh", "-c", "echo no luck; exit 3"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
  const operator = new Api(setup.operator);
  ids.node = (await operator.ok<{ items: { id: string }[] }>("GET", "/v1/admin/nodes")).items[0]?.id ?? "";
  ids.tenant = (await owner.ok<{ tenantId: string }>("GET", "/v1/whoami")).tenantId;
});

afterAll(async () => {
  const { items } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  await Promise.all(items.map((p) => gone(owner, p)));
  await until("the volume is deleted", async () => (await owner.call("DELETE", `/v1/volumes/${volume.id}`)).status < 300);
});

interface Found {
  id: string;
  impact: string;
  nodes: { html: string; failureSummary: string }[];
}

/** accessible returns the violations of WCAG 2.2 A and AA that axe finds. */
async function accessible(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe was injected above
    const result = await (window as any).axe.run({
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      resultTypes: ["violations"],
    });
    return result.violations as Found[];
  });
  return found
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map(
      (v) =>
        `${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 160)} — ${n.failureSummary.split("\n").slice(1, 3).join(" ")}`).join(" | ")}`,
    );
}

/** unnamed returns controls without an accessible name. */
const unnamed = (page: Page) =>
  page.locator("button, a, input, select, textarea").evaluateAll((all) =>
    all
      .filter((e) => (e as HTMLElement).checkVisibility() && !e.closest(".xterm"))
      .filter(
        (e) =>
          !(
            e.getAttribute("aria-label") ||
            (e as HTMLElement).innerText?.trim() ||
            (e as HTMLInputElement).labels?.length ||
            e.querySelector("svg[aria-label]")
          ),
      )
      .map((e) => e.outerHTML.slice(0, 120)),
  );

async function shot(page: Page, name: string, look: string) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}-${look}.png`, animations: "disabled", style: undefined });
}

/** LOOKS lists the widths and themes in which every page is checked. Screenshots are taken of the themes on a desktop and on a phone. */
const LOOKS: [string, Look][] = SHOTS
  ? [["desktop-light", DESKTOP]]
  : [
      ["laptop-light", LAPTOP],
      ["wide-dark", { ...WIDE, dark: true }],
    ];
if (SHOTS) LOOKS.push(["desktop-dark", { ...DESKTOP, dark: true }], ["phone-light", PHONE], ["phone-dark", { ...PHONE, dark: true }]);

/** PAGES lists all pages: the name, the key to sign in with, the path, and a function that waits for the content before the checks. */
const PAGES: [name: string, key: Key, path: () => string, there: (page: Page) => Promise<unknown>][] = [
  ["overview", setup.owner, () => "/", (p) => p.getByRole("meter").first().waitFor()],
  ["pods", setup.owner, () => "/pods", (p) => p.getByRole("row", { name: /web/ }).first().waitFor()],
  ["new-pod", setup.owner, () => "/pods/new?image=registry.example.com%2Fnginx%3A1.22", (p) => p.getByLabel("Document").waitFor()],
  ["pod", setup.owner, () => `/pods/${pod.id}`, (p) => p.getByText("Containers running").waitFor()],
  ["pod-metrics", setup.owner, () => `/pods/${pod.id}?tab=metrics`, metrics],
  [
    "pod-logs",
    setup.owner,
    () => `/pods/${pod.id}?tab=logs&container=writer`,
    (p) => p.getByRole("log").locator("[data-index]").first().waitFor(),
  ],
  ["pod-terminal", setup.owner, () => `/pods/${pod.id}?tab=terminal&container=writer`, terminal],
  ["pod-console", setup.owner, () => `/pods/${pod.id}?tab=console`, (p) => p.locator(".xterm-rows", { hasText: /\S/ }).waitFor()],
  ["pod-events", setup.owner, () => `/pods/${pod.id}?tab=events`, (p) => p.getByRole("tabpanel").getByRole("listitem").first().waitFor()],
  ["pod-placement", setup.owner, () => `/pods/${pod.id}?tab=placement`, (p) => p.getByText("Decided").waitFor()],
  ["pod-spec", setup.owner, () => `/pods/${pod.id}?tab=spec`, (p) => p.getByLabel("The pod's document").waitFor()],
  ["volumes", setup.owner, () => "/volumes", (p) => p.getByRole("row", { name: /web-data/ }).waitFor()],
  ["volume", setup.owner, () => `/volumes/${volume.id}`, (p) => p.getByText("Attached to").waitFor()],
  ["images", setup.owner, () => "/images", (p) => p.getByRole("row", { name: /nginx/ }).waitFor()],
  ["image", setup.owner, () => `/images/${image.id}`, (p) => p.getByText("ImportRequested").waitFor()],
  ["configs", setup.owner, () => "/configs", (p) => p.getByRole("row", { name: /web-settings/ }).waitFor()],
  ["services", setup.owner, () => "/services", (p) => p.getByRole("row", { name: /shop/ }).waitFor()],
  ["service", setup.owner, () => `/services/${service.id}`, (p) => p.getByRole("row", { name: /web.*Ready/ }).waitFor()],
  ["ingresses", setup.owner, () => "/ingresses", (p) => p.getByRole("row", { name: /shop.example.com/ }).waitFor()],
  ["ingress", setup.owner, () => `/ingresses/${ingress.id}`, (p) => p.getByRole("row", { name: /shop.example.com.*Ready/ }).waitFor()],
  [
    "security-group",
    setup.owner,
    () => `/security-groups/${group.id}`,
    (p) => p.getByRole("row", { name: /dropped on the way in/ }).waitFor(),
  ],
  ["security-groups", setup.owner, () => "/security-groups", (p) => p.getByRole("row", { name: /db/ }).waitFor()],
  ["addresses", setup.owner, () => "/addresses", (p) => p.getByRole("row", { name: /service shop/ }).waitFor()],
  ["networks", setup.owner, () => "/networks", (p) => p.getByRole("row", { name: /web/ }).first().waitFor()],
  [
    "events",
    setup.owner,
    () => "/events",
    (p) =>
      p
        .getByRole("row", { name: /Running/ })
        .first()
        .waitFor(),
  ],
  ["operations", setup.owner, () => "/operations", (p) => p.getByRole("row", { name: /Pod waits.*Start/ }).waitFor()],
  ["usage", setup.owner, () => "/usage", (p) => p.getByRole("img", { name: /Core-hours/ }).waitFor()],
  [
    "access",
    setup.owner,
    () => "/access",
    (p) =>
      p
        .getByRole("region", { name: /Service account/ })
        .first()
        .waitFor(),
  ],
  ["audit", setup.owner, () => "/audit", (p) => p.getByText("createPod").first().waitFor()],
  ["nodes", setup.operator, () => "/admin/nodes", (p) => p.locator("figure title").first().waitFor({ state: "attached" })],
  ["node", setup.operator, () => `/admin/nodes/${ids.node}`, (p) => p.getByRole("row", { name: /web/ }).first().waitFor()],
  ["tenants", setup.operator, () => "/admin/tenants", (p) => p.getByRole("row").nth(1).waitFor()],
  ["tenant", setup.operator, () => `/admin/tenants/${ids.tenant}`, (p) => p.getByRole("listitem").first().waitFor()],
  [
    "platform",
    setup.operator,
    () => "/admin/platform",
    (p) =>
      p
        .getByRole("row", { name: /Signing/ })
        .first()
        .waitFor(),
  ],
  ["drains", setup.operator, () => "/admin/operations", (p) => p.getByText("No operations in progress").waitFor()],
  ["all-usage", setup.operator, () => "/admin/usage", (p) => p.getByRole("img", { name: /Core-hours/ }).waitFor()],
  ["all-audit", setup.operator, () => "/admin/audit", (p) => p.getByText("createPod").first().waitFor()],
];

async function metrics(page: Page) {
  await page.getByRole("img", { name: /^Memory: used [1-9]/ }).waitFor();
  if (SHOTS) await page.waitForTimeout(7_000); // enough samples for a visible curve
}

async function terminal(page: Page) {
  await page.locator(".xterm-rows", { hasText: "#" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("uname -srm; ls /data\n");
  await page.locator(".xterm-rows", { hasText: "index.html" }).waitFor();
}

for (const [look, of] of LOOKS)
  test(`every page is accessible: ${look}`, { timeout: limit(300) }, async () => {
    const bad: Record<string, string[]> = {};
    const check = async (page: Page, name: string) => {
      await shot(page, name, look);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      const found = [
        ...(await accessible(page)),
        ...(await unnamed(page)).map((e) => `no name: ${e}`),
        ...(wide > 0 ? [`${wide} pixels wider than the screen`] : []),
      ];
      if (found.length > 0) bad[name] = found;
    };
    const signInPage = await (await newContext(of)).newPage();
    await signInPage.goto("/ui/");
    await signInPage.getByLabel("Key ID").waitFor();
    await settled(signInPage);
    await check(signInPage, "sign-in");
    for (const who of [setup.owner, setup.operator]) {
      const page = await signedIn(who, of);
      for (const [name, key, path, there] of PAGES) {
        if (key !== who) continue;
        await open(page, path());
        await there(page);
        await settled(page);
        await check(page, name);
      }
      if (who === setup.operator) continue;
      await open(page, "/pods");
      await page.keyboard.press("?");
      await page.getByRole("heading", { name: "Keyboard shortcuts" }).waitFor();
      await check(page, "help");
      await page.keyboard.press("Escape");
      await page.keyboard.press("/");
      await page.getByRole("combobox", { name: "Name of a page" }).fill("we");
      await check(page, "search");
    }
    expect(bad).toEqual({});
  });

test("a pod that is stopping says why it cannot be stopped", { timeout: limit(150) }, async () => {
  const slow = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "slow",
    spec: {
      terminationGracePeriodSeconds: 40,
      resources: { cpuMillis: 500, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args: ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${slow.id}`)).status.phase === "Running", 90);
  await owner.ok("POST", `/v1/pods/${slow.id}/stop`);
  const page = await signedIn(setup.owner);
  await open(page, `/pods/${slow.id}`);
  const stop = page.getByRole("button", { name: "Stop", exact: true });
  await until("the button says why", async () => (await stop.getAttribute("title")) === "The pod is stopping.", 30);
  expect(await stop.getAttribute("aria-disabled")).toBe("true");
  await gone(owner, slow);
});

test("the first page is small, and large parts are loaded on demand", async () => {
  const page = await (await newContext()).newPage();
  const sizes = new Map<string, number>();
  page.on("response", async (r) => {
    const path = new URL(r.url()).pathname;
    if (path.startsWith("/ui/")) sizes.set(path, Number(r.headers()["content-length"] ?? 0));
  });
  await page.goto("/ui/");
  await page.getByLabel("Key ID").fill(setup.owner.clientId);
  await page.getByLabel("Secret").fill(setup.owner.clientSecret);
  await page.getByRole("button", { name: "Sign in with an API key" }).click();
  await page.getByRole("row").or(page.getByRole("meter")).first().waitFor();
  const total = [...sizes.values()].reduce((a, b) => a + b, 0);
  console.log(`the first page takes ${(total / 1000).toFixed(0)} kB in ${sizes.size} files`);
  expect(total).toBeGreaterThan(50_000); // otherwise the test has not counted the files
  expect(total).toBeLessThan(250_000);
  expect([...sizes.keys()].filter((name) => /xterm|Chart|NewPod/.test(name))).toEqual([]);
  // The browser caches files with a hash in their name, and never requests them again.
  const again = new Set<string>();
  page.on("response", (r) => {
    if (!r.fromServiceWorker() && new URL(r.url()).pathname.startsWith("/ui/assets/") && r.request().timing().responseStart > 0)
      again.add(r.url());
  });
  const head = await page.request.get([...sizes.keys()].find((name) => name.endsWith(".js")) ?? "");
  expect(head.headers()["cache-control"]).toContain("immutable");
});

test("the address of a list has its order, its hidden columns and the text to look for", async () => {
  const page = await signedIn(setup.owner);
  await open(page, "/volumes");
  const volumes = page.getByRole("table", { name: "Volumes" });
  await volumes.getByRole("button", { name: "Size" }).click();
  await page.waitForURL(/[?&]sort=Size(&|$)/);
  await volumes.getByRole("button", { name: "Size" }).click();
  await page.waitForURL(/[?&]sort=-Size(&|$)/);
  expect(await volumes.getByRole("columnheader", { name: "Size" }).getAttribute("aria-sort")).toBe("descending");
  await page.getByText("Columns", { exact: true }).click();
  await page.getByLabel("Labels").uncheck();
  await page.waitForURL(/[?&]hide=Labels(&|$)/);
  await page.getByLabel("Filter by name or ID").fill("nothing-has-this-name");
  await page.getByText("No volumes match").waitFor();
  await page.reload();
  await page.getByText("No volumes match").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await volumes.waitFor();
  expect(await volumes.getByRole("columnheader", { name: "Labels" }).count()).toBe(0);
  expect(await volumes.getByRole("columnheader", { name: "Size" }).getAttribute("aria-sort")).toBe("descending");
});

test("what a filter hides is not deleted with what it shows", async () => {
  const page = await signedIn(setup.owner);
  await open(page, "/pods");
  await page.getByLabel("Select all Pods").check();
  await page.getByRole("button", { name: /^Delete [2-9] pods$/ }).waitFor();
  await page.getByLabel("Filter by name, image, address or ID").fill(pod.name);
  await page.getByRole("button", { name: "Delete 1 pod" }).click();
  await page.getByRole("heading", { name: `Delete pod ${pod.name}?` }).waitFor();
  await page.keyboard.press("Escape");
});

test("every page is reachable by keyboard, and the focus is visible", async () => {
  const page = await signedIn(setup.owner);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to content");
  for (const [key, heading] of [
    ["p", "Pods"],
    ["v", "Volumes"],
    ["i", "Images"],
    ["n", "Networks"],
    ["e", "Events"],
    ["r", "Operations"],
    ["u", "Usage"],
    ["a", "Access"],
    ["l", "Audit log"],
  ] as const) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await page.getByRole("heading", { name: heading, level: 1 }).waitFor();
  }
  // Letters typed into an input are not shortcuts.
  await open(page, "/pods");
  await page.getByLabel("Filter by name, image, address or ID").fill("");
  await page.getByLabel("Filter by name, image, address or ID").pressSequentially("gv?/c");
  expect(await page.getByLabel("Filter by name, image, address or ID").inputValue()).toBe("gv?/c");
  await open(page, `/pods/${pod.id}`);
  await page.getByRole("tab", { name: "Overview" }).focus();
  await page.keyboard.press("ArrowLeft");
  await page.getByLabel("The pod's document").waitFor();
  const outline = await page.getByRole("tab", { name: "Spec" }).evaluate((e) => getComputedStyle(e).outlineStyle);
  expect(outline).toBe("solid");
  // A dialog takes the focus and restores it.
  await page.getByRole("button", { name: "Delete" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  expect(await page.evaluate(() => document.activeElement?.textContent?.trim())).toBe("Delete");
});
