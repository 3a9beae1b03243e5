// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, expect, test } from "vitest";
import { Api, expectFaults, gone, haveImage, open, type Pod, settled, setup, signedIn, signIn, until } from "./stack";

const owner = new Api(setup.owner);
let pod: Pod;

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "chatty",
    labels: { empty: "" },
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args: ["sh", "-c", "seq 2000; while true; do date; sleep 0.2; done"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
});

afterAll(() => gone(owner, pod));

test("a key that scrolls up stops a live log from following, and End follows it again", async () => {
  const page = await signedIn(setup.owner);
  await open(page, `/pods/${pod.id}?tab=logs`);
  const log = page.getByRole("log");
  const top = () => log.evaluate((e) => e.scrollTop);
  await until("the log is at its end", async () => (await top()) > 1000, 20);
  await log.focus();
  await page.keyboard.press("PageUp");
  await until("the log does not follow", async () => !(await page.getByLabel("Follow").isChecked()), 5);
  await page.keyboard.press("PageUp");
  await page.waitForTimeout(500); // a scroll that is smooth
  const there = await top();
  await page.waitForTimeout(2_000); // in which ten lines arrive
  expect(await top()).toBe(there);
  await page.keyboard.press("End");
  await until("the log follows", async () => page.getByLabel("Follow").isChecked(), 5);
  // The times say in which zone they are.
  await page.getByLabel(/Times \((UTC|GMT)/).waitFor();
});

test("every page has its title, and the heading of a page that is opened gets the focus", async () => {
  const page = await signedIn(setup.owner);
  await open(page, "/");
  for (const name of ["Pods", "Volumes", "Events", "Audit log"]) {
    await page.getByRole("navigation").getByRole("link", { name }).click();
    await page.getByRole("heading", { name, level: 1 }).waitFor();
    await until("the title changes", async () => (await page.title()) === `${name} · Husk`, 5);
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.slice(0, 40));
    await until("the heading has the focus", async () => (await focused()) === name, 5).catch(async (late) => {
      throw new Error(`${late}: ${name}, and the focus is at ${JSON.stringify(await focused())}`);
    });
  }
  await open(page, `/pods/${pod.id}`);
  await until("the title has the pod's name", async () => (await page.title()).startsWith("chatty"), 5);
});

test("a file that cannot be loaded does not take the page down", async () => {
  const page = await signedIn(setup.owner);
  expectFaults(/net::ERR_FAILED|dynamically imported module|Failed to load resource/);
  await open(page, `/pods/${pod.id}`);
  await page.route(/\/assets\/MetricsTab-/, (route) => route.abort());
  await page.getByRole("tab", { name: "Metrics" }).click();
  await page.getByText("A file of the dashboard could not be loaded").waitFor();
  await page.getByRole("tab", { name: "Logs" }).click();
  await page.getByRole("log").locator("[data-index]").first().waitFor();
});

test("a session that ends says why, and the form is still filled in afterwards", async () => {
  const { id } = await owner.ok<{ id: string }>("POST", "/v1/service-accounts", { name: "leaves", role: "developer" });
  const key = await owner.ok<{ clientId: string; clientSecret: string }>("POST", `/v1/service-accounts/${id}/api-keys`, { name: "first" });
  const page = await signedIn(key);
  expectFaults(/401 \(Unauthorized\)|WebSocket/);
  await open(page, "/pods/new");
  await page.getByRole("textbox", { name: "Name", exact: true }).first().fill("half-done");
  await owner.ok("PATCH", `/v1/service-accounts/${id}`, { role: "viewer" });
  await page.getByRole("link", { name: "Volumes" }).click({ trial: true });
  await page.goto("/ui/pods/new");
  await page.getByText(/You were signed out of .*(revoked|another role)/).waitFor();
  await owner.ok("PATCH", `/v1/service-accounts/${id}`, { role: "developer" });
  await signIn(page, key);
  await settled(page);
  expect(await page.getByRole("textbox", { name: "Name", exact: true }).first().inputValue()).toBe("half-done");
  await owner.ok("DELETE", `/v1/service-accounts/${id}`);
});

test("labels with empty values are kept, and an error marks its field", async () => {
  const page = await signedIn(setup.owner);
  expectFaults(/404 \(Not Found\)|422|502/);
  await open(page, `/pods/new?like=${pod.id}`);
  expect(await page.getByLabel("Document").inputValue()).toMatch(/empty: ""/);
  await open(page, "/images");
  await page.getByRole("button", { name: "Import an image" }).first().click();
  await page.getByLabel("Reference", { exact: true }).fill(`${setup.busybox.split("/")[0]}/none:1`);
  await page.getByRole("button", { name: "Import", exact: true }).click();
  await page.locator("input[aria-invalid=true]").and(page.getByLabel("Reference")).waitFor();
  expect(await page.evaluate(() => document.activeElement?.getAttribute("aria-invalid"))).toBe("true");
});

test("the operator gets a command with which a node joins", async () => {
  const page = await signedIn(setup.operator);
  await open(page, "/admin/nodes");
  await page.getByRole("button", { name: "Add a node" }).click();
  const command = await page.getByRole("dialog").locator("p code").first().innerText();
  expect(command).toMatch(/^HUSKD_JOIN_TOKEN=\S+ huskd agent --server https:\/\/\S+ --ovn-southbound \S+ --listen /);
  expect(command).not.toMatch(/HUSK_SERVER|OVN_SOUTHBOUND/);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "I have copied it" }).click();
});
