// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, expect, test } from "vitest";
import { limit } from "./limit";
import { Api, gone, haveImage, open, type Pod, setup, signedIn, until } from "./stack";

const owner = new Api(setup.busy);
const operator = new Api(setup.operator);
let node = "";

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  node = (await operator.ok<{ items: { id: string }[] }>("GET", "/v1/admin/nodes")).items[0]?.id ?? "";
});

afterAll(async () => {
  await operator.call("DELETE", `/v1/admin/nodes/${node}/drain`);
  const { items } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  await Promise.all(items.map((p) => gone(owner, p)));
  await removeBroken();
});

/** removeBroken deletes the image that cannot be imported. */
async function removeBroken() {
  const { items } = await owner.ok<{ items: { id: string; reference: string }[] }>("GET", "/v1/images");
  for (const i of items) if (i.reference === setup.broken) await owner.ok("DELETE", `/v1/images/${i.id}`);
}

const create = (name: string, args: string[], scheduling = {}) =>
  owner.ok<Pod>("POST", "/v1/pods", {
    name,
    spec: {
      terminationGracePeriodSeconds: 20,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args }],
      scheduling,
    },
  });

const phase = async (pod: Pod) => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase;

test("an owner cancels what is in progress, and retries what has failed", { timeout: limit(240) }, async () => {
  const waits = await create("waits", ["true"], { nodeSelector: { disk: "nvme" } });
  await owner.ok("POST", "/v1/images", { reference: setup.broken });
  const page = await signedIn(setup.busy);
  await page.getByRole("link", { name: "Operations" }).click();
  await page.getByRole("heading", { name: "Operations", level: 1 }).waitFor();

  // A start is canceled: the pod stops, and leaves the list by itself.
  await page.getByRole("row", { name: /Pod waits Start/ }).waitFor();
  await page.getByRole("button", { name: "Cancel the start of waits" }).click();
  await page.getByRole("button", { name: "Go back" }).click();
  expect(await phase(waits)).toBe("Pending");
  await page.getByRole("button", { name: "Cancel the start of waits" }).click();
  await page.getByRole("button", { name: "Cancel the start", exact: true }).click();
  await page.getByRole("row", { name: /Pod waits/ }).waitFor({ state: "detached" });
  expect(await phase(waits)).toBe("Stopped");

  // A failed import says why, and is retried.
  const failed = page.getByRole("row", { name: /Import failed/ });
  await failed.waitFor({ timeout: limit(60) });
  expect(await failed.innerText()).toContain("damaged or not a valid OCI image");
  await page.getByRole("button", { name: /^Retry the import of/ }).click();
  const retried = page.waitForRequest((r) => r.method() === "POST" && r.url().endsWith("/v1/images"));
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  expect((await retried).postDataJSON()).toEqual({ reference: setup.broken });
  await failed.waitFor({ timeout: limit(60) });

  // A stop cannot be canceled, and the button says so.
  const slow = await create("slow", ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]);
  await until("the pod runs", async () => (await phase(slow)) === "Running", 90);
  await owner.ok("POST", `/v1/pods/${slow.id}/stop`);
  const cancel = page.getByRole("button", { name: "Cancel the stop of slow" });
  await cancel.waitFor();
  expect(await cancel.getAttribute("title")).toBe("The pod is stopping.");
  expect(await cancel.getAttribute("aria-disabled")).toBe("true");

  await removeBroken();
  await gone(owner, slow);
  await gone(owner, waits);
  await page.getByText("No operations in progress").waitFor({ timeout: limit(60) });
});

test("an operator sees a drain, and cancels it", { timeout: limit(180) }, async () => {
  const stays = await create("stays", ["sleep", "100000"]);
  await until("the pod runs", async () => (await phase(stays)) === "Running", 90);
  await operator.ok("PUT", `/v1/admin/nodes/${node}/drain`, { restart: false });
  const page = await signedIn(setup.operator);
  await open(page, "/admin/operations");
  await page.getByRole("row", { name: /Drain.*[1-9]\d* pods? left/ }).waitFor();
  await page.getByRole("button", { name: /^Cancel the drain of/ }).click();
  await page.getByRole("button", { name: "Cancel the drain", exact: true }).click();
  await page.getByText("No operations in progress").waitFor();
  expect((await operator.call("GET", `/v1/admin/nodes/${node}/drain`)).status).toBe(404);
  expect(await phase(stays)).toBe("Running");
});
