// SPDX-License-Identifier: Apache-2.0

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Api, expectFaults, gone, haveImage, open, type Pod, setup, signedIn, until } from "./stack";

const owner = new Api(setup.owner);
let pod: Pod;
let volume: { id: string };

const EVIL = "<img src=x onerror=alert(1)>";

// The attacks of a hostile tenant: markup in its log, and escape sequences that set the terminal's title, write to the clipboard, link to a script,
// or report terminal state as input.
const OUTPUT = [
  EVIL,
  "<script>alert(2)</script>",
  '\\033]0;"><img src=x onerror=alert(3)>\\007',
  "\\033]52;c;YWxlcnQoNCk=\\007",
  "\\033]8;;javascript:alert(5)\\007a link\\033]8;;\\007",
  "\\033[21t",
  "\\033P+q544e\\033\\\\\\\\",
].join("\\n");

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  volume = await owner.ok("POST", "/v1/volumes", { name: "held", labels: { note: EVIL }, sizeGiB: 1 });
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "hostile",
    labels: { note: EVIL, "x\"'><b>": "'\"><svg onload=alert(6)>" },
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      volumes: [{ name: "held", volumeId: volume.id }],
      containers: [
        {
          name: "main",
          image: setup.busybox,
          args: ["sh", "-c", `printf '${OUTPUT}\\n'; echo "$EVIL"; exec sleep 100000`],
          env: [{ name: "EVIL", value: `"><img src=x onerror=alert(7)>` }],
          volumeMounts: [{ volume: "held", mountPath: "/held" }],
        },
      ],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
});

afterAll(async () => {
  await gone(owner, pod);
  await until("the volume is deleted", async () => (await owner.call("DELETE", `/v1/volumes/${volume.id}`)).status < 300);
});

/** HARMLESS matches controls that only show, search or copy. */
const HARMLESS =
  /^(Menu|Search \/?|Search|Light theme|Dark theme|Help and keyboard shortcuts|Skip to content|Husk|Clear|Download|CSV|Load older entries|Reconnect|Retry|Dismiss|Copy .*|All events|Usage|Remove the filter .*|.+ viewer|.*=.*|Name|State|Ready|Restarts|Size|Address|Age|Pod|Node|Time \(.*\)|Event|Reference|Digest|Imported|Kind|Version|Changed|Show .*|Core-hours|Memory GiB-h|Volume GiB-h|Network|Range|Pods|Cost|Target|Pods|Restricts|Hosts|Certificates|Services|Columns|Class|Object|Operation|Progress|Message|Since)?$/i;

/** otherControls lists the controls of a page that HARMLESS does not match. */
async function otherControls(page: Page) {
  const names = await page
    .locator("button:visible")
    .evaluateAll((all) => all.map((b) => b.getAttribute("aria-label") ?? (b as HTMLElement).innerText.replace(/\s+/g, " ").trim()));
  const links = await page.locator("a:visible").evaluateAll((all) => all.map((a) => a.getAttribute("href") ?? ""));
  return [...names.filter((n) => !HARMLESS.test(n)), ...links.filter((l) => l.includes("/new"))];
}

test("a viewer sees no controls that change anything", async () => {
  const page = await signedIn(setup.viewer);
  const found: Record<string, string[]> = {};
  for (const path of [
    "/",
    "/pods",
    "/volumes",
    "/images",
    "/configs",
    "/services",
    "/ingresses",
    "/addresses",
    "/security-groups",
    "/networks",
    "/operations",
    "/events",
    "/usage",
    `/volumes/${volume.id}`,
  ]) {
    await open(page, path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    found[path] = await otherControls(page);
  }
  await open(page, `/pods/${pod.id}`);
  expect(await page.getByRole("tab").allInnerTexts()).toEqual(["Overview", "Metrics", "Logs", "Console", "Events", "Placement", "Spec"]);
  for (const tab of await page.getByRole("tab").all()) {
    const name = await tab.innerText();
    await tab.click();
    await page.waitForTimeout(300);
    found[name] = (await otherControls(page)).filter(
      (n) => !["Overview", "Metrics", "Logs", "Console", "Events", "Placement", "Spec"].includes(n),
    );
  }
  expect(Object.fromEntries(Object.entries(found).filter(([, names]) => names.length > 0))).toEqual({});
  // The viewer cannot open the pages by their URLs either.
  await open(page, `/pods/${pod.id}?tab=terminal`);
  expect(await page.locator(".xterm").count()).toBe(0);
  await open(page, "/pods/new");
  await page.getByRole("heading", { name: "Creating pods requires the developer role" }).waitFor();
  await open(page, "/access");
  await page.getByRole("heading", { name: "This page requires the owner role" }).waitFor();
  await page.keyboard.press("c");
  expect(await page.getByRole("navigation").getByRole("link").allInnerTexts()).toEqual([
    "Overview",
    "Pods",
    "Volumes",
    "Images",
    "Configs",
    "Services",
    "Ingresses",
    "Addresses",
    "Security groups",
    "Networks",
    "Events",
    "Operations",
    "Usage",
  ]);
});

test("another tenant sees neither the pod nor the volume", async () => {
  const page = await signedIn(setup.stranger);
  expectFaults(/404 \(Not Found\)/);
  for (const [path, heading] of [
    ["/", "No pods yet"],
    ["/pods", "No pods yet"],
    ["/volumes", "No volumes yet"],
    ["/images", "No images yet"],
    ["/configs", "No configs yet"],
    ["/services", "No services yet"],
    ["/ingresses", "No ingresses yet"],
    ["/addresses", "No floating addresses yet"],
    ["/security-groups", "No security groups yet"],
    ["/events", "No events yet"],
    [`/pods/${pod.id}`, "Pod not found"],
    [`/volumes/${volume.id}`, "Volume not found"],
  ] as const) {
    await open(page, path);
    await page.getByRole("heading", { name: heading }).waitFor();
    const text = await page.locator("body").innerText();
    expect(text).not.toContain("hostile");
    expect(text).not.toContain(setup.tenantName);
  }
  await page.keyboard.press("/");
  await page.getByRole("combobox", { name: "Name of a page" }).fill("hostile");
  await page.getByText("Nothing matches.").waitFor();
});

test("everything that a tenant writes is shown as text", async () => {
  const page = await signedIn(setup.owner);
  await page.goto(`/ui/pods?q=${encodeURIComponent(EVIL)}&labels=${encodeURIComponent(`note=${EVIL}`)}`);
  await page.getByRole("button", { name: `Remove the filter note=${EVIL}` }).waitFor();
  await open(page, "/pods");
  await page.getByText(`note=${EVIL}`).first().waitFor();
  await open(page, `/pods/${pod.id}?tab=logs`);
  await page.getByRole("log").locator("[data-index]", { hasText: EVIL }).first().waitFor();
  await page.getByRole("log").locator("[data-index]", { hasText: "onerror=alert(7)" }).waitFor();
  expect(
    await page
      .getByRole("log")
      .locator("[data-index]")
      .allInnerTexts()
      .then((all) => all.join("").includes("\u001b")),
  ).toBe(false);
  await page.getByRole("tab", { name: "Spec" }).click();
  await page.getByText("onerror=alert(7)").first().waitFor();
  await page.getByRole("tab", { name: "Terminal" }).click();
  await page.locator(".xterm-rows", { hasText: "#" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(`printf '${OUTPUT}\\n'; echo ov''er\n`);
  await page.locator(".xterm-rows", { hasText: "over" }).waitFor();
  await page.locator(".xterm-rows", { hasText: EVIL }).waitFor();
  await page.getByText("a link").last().click({ force: true });
  expect(await page.title()).toMatch(/^hostile .*· Husk$/);
  for (const path of [`/volumes/${volume.id}`, "/volumes", "/events", "/audit", "/"]) await open(page, path);
  expect(await page.locator("img, svg[onload], script:not([src])").count()).toBe(0);
});

test("the content security policy blocks inline scripts, markup and requests to other origins", async () => {
  const page = await signedIn(setup.owner);
  const response = await page.request.get("/ui/");
  const policy = response.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toMatch(/unsafe|https?:|\*/);
  // The browser enforces the policy.
  expectFaults(/Content Security Policy|Trusted/);
  const blocked = await page.evaluate(async () => {
    const tried: string[] = [];
    const s = document.createElement("script");
    try {
      s.textContent = "window.ran = true";
      document.head.append(s);
    } catch {
      tried.push("script text");
    }
    try {
      document.body.insertAdjacentHTML("beforeend", "<p>");
    } catch {
      tried.push("markup");
    }
    await fetch("https://example.com/").catch(() => tried.push("another origin"));
    return { tried, ran: "ran" in window };
  });
  expect(blocked).toEqual({ tried: ["script text", "markup", "another origin"], ran: false });
  for (const path of ["/v1/pods", "/healthz"]) expect((await page.request.get(path)).headers()["content-type"]).toContain("json");
  expect((await page.request.get("/ui/assets/none.js")).status()).toBe(404);
});
