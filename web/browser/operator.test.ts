// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, expect, test } from "vitest";
import { Api, expectFaults, gone, haveImage, open, type Pod, setup, signedIn, until } from "./stack";

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
  const box = page.locator(".packing-pod title", { hasText: `${setup.tenantName}/boxed: 0.25 cores, 128 MiB, Running` });
  await box.waitFor({ state: "attached" });
  await page.locator(".node").getByRole("link").click();
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
