// SPDX-License-Identifier: Apache-2.0

import { readFile } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { limit } from "./limit";
import { Api, open, setup, signedIn, until } from "./stack";

const owner = new Api(setup.fresh);

interface Item {
  id: string;
  state: string;
  name: string;
}

const find = async (path: string, name: string) => (await owner.ok<{ items: Item[] }>("GET", path)).items.find((i) => i.name === name);

afterAll(async () => {
  for (const path of ["/v1/snapshots", "/v1/volumes"])
    for (const i of (await owner.ok<{ items: Item[] }>("GET", path)).items)
      await until(`${i.name} is deleted`, async () => (await owner.call("DELETE", `${path}/${i.id}`)).status < 300);
});

test("an owner downloads a snapshot and uploads it as a new volume", async () => {
  const volume = await owner.ok<Item>("POST", "/v1/volumes", { name: "original", sizeGiB: 1 });
  await until("the volume is there", async () => (await find("/v1/volumes", "original"))?.state === "Available");
  await owner.ok("POST", "/v1/snapshots", { name: "saved", volumeId: volume.id });
  await until("the snapshot is ready", async () => (await find("/v1/snapshots", "saved"))?.state === "Ready");

  const page = await signedIn(setup.fresh);
  // A test cannot answer the browser's own dialog for files. Without it, the browser saves a download.
  await page.addInitScript(() => Reflect.deleteProperty(window, "showSaveFilePicker"));
  await open(page, "/volumes");
  const saving = page.waitForEvent("download", { timeout: limit(30) });
  await page.getByRole("button", { name: "Download snapshot saved" }).click();
  const saved = await saving;
  expect(saved.suggestedFilename()).toBe("saved.rbd-diff");
  const file = await saved.path();
  const content = await readFile(file);
  expect(content.subarray(0, 12).toString()).toBe("rbd diff v1\n");
  expect(content.subarray(-1).toString()).toBe("e");

  await page.getByRole("button", { name: "Upload a volume" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("uploaded");
  await page
    .getByLabel("File")
    .setInputFiles({ name: "disk.img", mimeType: "application/octet-stream", buffer: Buffer.from("not a volume") });
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page.getByText("does not have the format").waitFor();
  await page.getByLabel("File").setInputFiles(file);
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page.getByRole("row", { name: /uploaded Available 1 GiB/ }).waitFor({ timeout: limit(60) });

  // An encrypted volume is created with a mark, and its page says so.
  await page.getByRole("button", { name: "Create a volume" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("secret");
  await page.getByLabel("Size in GiB").fill("1");
  await page.getByLabel("Encrypt it with a key of its own").check();
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("row", { name: /secret Available 1 GiB/ }).waitFor({ timeout: limit(60) });
  await page.getByRole("link", { name: "secret" }).click();
  await page.getByText("yes, with a key of its own").waitFor();
});
