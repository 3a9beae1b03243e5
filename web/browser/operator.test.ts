// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Api, expectFaults, gone, haveImage, newContext, open, PLAIN, type Pod, setup, signedIn, signIn, until } from "./stack";

const owner = new Api(setup.owner);
let pod: Pod;

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "boxed",
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args: ["sleep", "100000"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
});

afterAll(() => gone(owner, pod));

test("the operator sees each node with a box for each pod, and changes the node", async () => {
  const page = await signedIn(setup.operator);
  await page.getByRole("heading", { name: "Nodes", level: 1 }).waitFor();
  const box = page.locator("figure title", { hasText: `${setup.tenantName}/boxed: 0.25 cores, 128 MiB, Running` });
  await box.waitFor({ state: "attached" });
  await page
    .getByRole("listitem")
    .filter({ has: page.getByRole("figure") })
    .getByRole("link")
    .click();
  await page.getByRole("row", { name: /boxed/ }).waitFor();
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("heading", { name: /Cordoned/ }).waitFor();
  await page.getByRole("button", { name: "Uncordon" }).click();
  await page.getByRole("button", { name: "Cordon", exact: true }).waitFor();
  await page.getByRole("button", { name: "Drain", exact: true }).click();
  await page.getByRole("button", { name: "Drain the node" }).click();
  await page
    .getByRole("heading", { name: /Drain(ing|ed)/ })
    .first()
    .waitFor();
  await page.getByText("Moves at the same time").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Cancel the drain" }).click();
  await page.getByRole("button", { name: "Drain", exact: true }).waitFor();
  await page.getByRole("button", { name: "Pool, labels, taints" }).click();
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByLabel("Labels: name 1").fill("zone");
  await page.getByLabel("Labels: value 1").fill("east");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("zone=east").waitFor();
  await page.getByRole("button", { name: "Pool, labels, taints" }).click();
  await page.getByRole("button", { name: "Remove zone" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("zone=east").waitFor({ state: "detached" });
});

test("the operator creates a tenant and its API key, and changes its quota", async () => {
  const page = await signedIn(setup.operator);
  const name = `made-${Date.now()}`;
  await open(page, "/admin/tenants");
  await page.getByRole("button", { name: "Create a tenant" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill(name);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { name }).waitFor();
  await page.getByRole("button", { name: "Change quota" }).click();
  await page.getByRole("spinbutton", { name: "Pods" }).fill("7");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("0 of 7").waitFor();
  await page.getByRole("button", { name: "Create API key" }).click();
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByText("Copy the secret now.").waitFor();
  const [clientId, clientSecret] = (await page.getByRole("dialog").locator("dd code").allInnerTexts()) as [string, string];
  await page.getByRole("button", { name: "I have saved it" }).click();
  const created = new Api({ clientId, clientSecret });
  expect(await created.ok("GET", "/v1/whoami")).toMatchObject({ tenantName: name, role: "owner" });
  // The page no longer contains the secret.
  await page.reload();
  await page.getByRole("heading", { name }).waitFor();
  expect(await page.content()).not.toContain(clientSecret);
  const id = page.url().split("/").pop();
  await open(page, "/admin/audit");
  await page.getByText("createTenant").first().waitFor();
  const operator = new Api(setup.operator);
  await operator.ok("DELETE", `/v1/admin/tenants/${id}`);
});

test("no single key changes a role, and a tenant keeps its last owner", async () => {
  const page = await signedIn(setup.fresh);
  const fresh = new Api(setup.fresh);
  expectFaults(/409 \(Conflict\)/); // the changes that the server refuses
  const { id } = await fresh.ok<{ id: string }>("POST", "/v1/service-accounts", { name: "ci", role: "viewer" });
  const role = async () => (await fresh.ok<{ role: string }>("GET", `/v1/service-accounts/${id}`)).role;
  await open(page, "/access");
  await page.getByRole("button", { name: "Change the role of ci" }).focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Role").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  expect(await dialog.getByLabel("Role").inputValue()).toBe("owner");
  expect(await role()).toBe("viewer");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  expect(await role()).toBe("viewer");
  await page.getByRole("button", { name: "Change the role of ci" }).click();
  await dialog.getByLabel("Role").selectOption("developer");
  await dialog.getByRole("button", { name: "Make ci developer" }).click();
  await page.getByText("ci is now developer.").waitFor();
  expect(await role()).toBe("developer");

  // The only owner cannot take away the own role, key or account.
  await page.getByRole("button", { name: "Change the role of owner" }).click();
  await dialog.getByLabel("Role").selectOption("viewer");
  await dialog.getByText("This is you").waitFor();
  await dialog.getByRole("button", { name: "Make owner viewer" }).click();
  await dialog.getByText("without an owner").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  for (const [button, submit] of [
    ["Revoke key test of owner", "Revoke"],
    ["Delete service account owner", "Delete"],
  ] as const) {
    await page.getByRole("button", { name: button }).click();
    await dialog.getByRole("button", { name: submit }).click();
    await dialog.getByText("without an owner").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
  }
  expect(await fresh.ok("GET", "/v1/whoami")).toMatchObject({ role: "owner" });
  await fresh.ok("DELETE", `/v1/service-accounts/${id}`);
});

test("a secret can be copied on plain HTTP", async () => {
  const page = await (await newContext()).newPage();
  expectFaults(/Cross-Origin-Opener-Policy header has been ignored/); // Chromium says so on plain HTTP
  await page.goto(setup.api.replace("127.0.0.1", PLAIN));
  expect(await page.evaluate(() => isSecureContext)).toBe(false);
  await signIn(page, setup.fresh);
  const fresh = new Api(setup.fresh);
  const { id } = await fresh.ok<{ id: string }>("POST", "/v1/service-accounts", { name: "copied", role: "viewer" });
  await page.getByRole("link", { name: "Access" }).click();
  await page.getByRole("region", { name: "Service account copied" }).getByRole("button", { name: "API key" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("first");
  await page.getByRole("button", { name: "Create key" }).click();
  const secret = await page.getByRole("dialog").locator("dd code").last().innerText();
  await page.getByRole("button", { name: "Copy the secret" }).click();
  await page.getByRole("button", { name: "Copied", exact: true }).waitFor();
  await page.getByRole("button", { name: "I have saved it" }).click();
  await page.getByRole("button", { name: "Service account", exact: true }).click();
  await page.getByRole("textbox", { name: "Name" }).press("Control+V");
  expect(await page.getByRole("textbox", { name: "Name" }).inputValue()).toBe(secret);
  await fresh.ok("DELETE", `/v1/service-accounts/${id}`);
});

test("an owner creates keys, and their secrets are shown once", async () => {
  const page = await signedIn(setup.owner);
  expectFaults(/404 \(Not Found\)/); // the keys of the deleted account
  await open(page, "/access");
  await page.getByRole("button", { name: "Service account", exact: true }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("pipeline");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  const account = page.getByRole("region", { name: "Service account pipeline" });
  await account.getByRole("button", { name: "API key" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("first");
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByText("Copy the secret now.").waitFor();
  const [clientId, clientSecret] = (await page.getByRole("dialog").locator("dd code").allInnerTexts()) as [string, string];
  // Neither Escape, however often, nor a click outside loses the secret.
  for (let i = 0; i < 3; i++) await page.keyboard.press("Escape");
  await page.mouse.click(5, 5);
  expect(await page.getByRole("dialog").locator("dd code").last().innerText()).toBe(clientSecret);
  await page.getByRole("button", { name: "I have saved it" }).click();
  const program = new Api({ clientId, clientSecret });
  expect(await program.ok("GET", "/v1/whoami")).toMatchObject({ name: "pipeline", role: "developer" });
  expect(await page.content()).not.toContain(clientSecret);
  await account.getByRole("button", { name: "Revoke key first of pipeline" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await account.getByText("No API keys").waitFor();
  expect((await program.call("GET", "/v1/pods")).status).toBe(401);
  await account.getByRole("button", { name: "Delete service account pipeline" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await account.waitFor({ state: "detached" });
});

test("the operator manages pools, issuers and keys of the installation", async () => {
  const page = await signedIn(setup.operator);
  await open(page, "/admin/platform");
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Pool", exact: true }).click();
  await dialog.getByLabel("Name").fill("steady");
  await dialog.getByLabel("CPU overcommit").fill("2");
  await dialog.getByRole("button", { name: "Create" }).click();
  await page.getByRole("row", { name: /^steady 2 0/ }).waitFor();
  await page.getByRole("button", { name: "Pool", exact: true }).click();
  await dialog.getByLabel("Name").fill("steady");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("A pool named steady exists already.").first().waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Change pool steady" }).click();
  await dialog.getByLabel("CPU overcommit").fill("3.5");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("row", { name: /^steady 3.5 0/ }).waitFor();
  await page.getByRole("button", { name: "Defragment" }).click();
  await dialog.getByRole("button", { name: "Propose" }).click();
  await dialog.getByRole("status").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Delete pool steady" }).click();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("row", { name: /^steady/ }).waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Volume class", exact: true }).click();
  await dialog.getByLabel("Name").fill("fast");
  await dialog.getByLabel("IOPS").fill("500");
  await dialog.getByRole("button", { name: "Create" }).click();
  await page.getByRole("row", { name: /^fast 500 100 0/ }).waitFor();
  await page.getByRole("button", { name: "Volume class", exact: true }).click();
  await dialog.getByLabel("Name").fill("fast");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("A volume class named fast exists already.").first().waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("row", { name: /^fast 500 100 0/ }).waitFor();
  await page.getByRole("button", { name: "Change volume class fast" }).click();
  await dialog.getByLabel("IOPS").fill("0");
  await dialog.getByRole("button", { name: "Save" }).click();
  await page.getByRole("row", { name: /^fast unlimited 100 0/ }).waitFor();
  await page.getByRole("button", { name: "Delete volume class fast" }).click();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("row", { name: /^fast/ }).waitFor({ state: "detached" });

  await page.getByRole("region", { name: "Issuer login" }).getByText(`developer in ${setup.tenantName}`).waitFor();
  const keys = () => page.getByRole("region", { name: "Signing keys" }).last().getByRole("row").count();
  const before = await keys();
  await page.getByRole("button", { name: "Rotate" }).click();
  await dialog.getByRole("button", { name: "Rotate" }).click();
  await until("there is another key", async () => (await keys()) > before, 10);

  await open(page, "/admin/nodes");
  await page
    .getByRole("listitem")
    .filter({ has: page.getByRole("figure") })
    .getByRole("link")
    .click();
  await page.getByRole("heading", { name: "Certificates" }).waitFor();
  await page.getByRole("region", { name: "Certificates" }).last().getByRole("row").nth(1).waitFor();
});

test("usage and the audit log show names, are filtered, and can be saved", async () => {
  const page = await signedIn(setup.operator);
  await open(page, "/admin/usage");
  await page.getByRole("row", { name: new RegExp(`^${setup.tenantName} `) }).waitFor();
  await open(page, "/admin/audit");
  await page.getByLabel("Operation").fill("createPod");
  await page.getByLabel("Tenant").selectOption({ label: setup.tenantName });
  const rows = page.getByRole("rowgroup").last().getByRole("row");
  await until(
    "the entries are filtered",
    async () => {
      const texts = await rows.allInnerTexts();
      return texts.length > 0 && texts.every((t) => t.includes("createPod") && t.includes(setup.tenantName));
    },
    15,
  );
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "CSV" }).click();
  const file = readFileSync(await (await download).path(), "utf8")
    .trim()
    .split("\n");
  expect(file[0]).toMatch(/^at,tenant,actorKind/);
  expect(file.slice(1).every((l) => l.includes(`,${setup.tenantName},`) && l.includes(",createPod,"))).toBe(true);
  expect(file.length).toBeGreaterThan(1);
  await page.getByLabel("Actor's name or ID").fill("nobody-has-this-name");
  await page.getByText("No entries match").waitFor();
});
