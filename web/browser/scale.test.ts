// SPDX-License-Identifier: Apache-2.0

import { afterAll, expect, test } from "vitest";
import { limit } from "./limit";
import { Api, setup, signedIn, until } from "./stack";

// Creating ten thousand pods takes minutes, so the suite creates fewer. HUSK_BROWSER_PODS=10000 creates all of them.
const PODS = Number(process.env.HUSK_BROWSER_PODS ?? 1_000);
const shown = (n: number) => n.toLocaleString("en");
const AT_ONCE = 24;
const many = new Api(setup.many);
const ids: string[] = [];

async function parallel(n: number, what: (i: number) => Promise<void>) {
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let i = next++; i < n; i = next++) await what(i);
    }),
  );
}

afterAll(() => parallel(ids.length, async (i) => void (await many.call("DELETE", `/v1/pods/${ids[i]}`))), limit(300));

test("the list of thousands of pods draws few rows, is live, and can be filtered", { timeout: limit(300) }, async () => {
  const spec = {
    containers: [{ name: "main", image: setup.busybox }],
    resources: { cpuMillis: 50, memoryMiB: 96 },
    scheduling: { nodeSelector: { disk: "unobtainium" } },
  };
  await many.ok("POST", "/v1/images", { reference: setup.busybox });
  await parallel(PODS, async (i) => {
    const { id } = await many.ok<{ id: string }>("POST", "/v1/pods", { name: `p-${i}`, labels: { app: `app-${i % 100}` }, spec });
    ids.push(id);
  });
  const page = await signedIn(setup.many);
  await page.getByRole("link", { name: "Pods", exact: true }).click();
  await page.getByText(`${shown(PODS)} pods`).waitFor({ timeout: limit(60) });
  const drawn = () => page.getByRole("rowgroup").last().getByRole("row").count();
  expect(await drawn()).toBeLessThan(100);
  expect(await page.getByRole("table").getAttribute("aria-rowcount")).toBe(String(PODS + 1));
  await page.getByRole("button", { name: "Name", exact: true }).click();
  await page.getByRole("row", { name: /^Select p-0 p-0/ }).waitFor();
  await page
    .getByRole("rowgroup")
    .last()
    .evaluate((e) => e.scrollTo(0, e.scrollHeight));
  await page.getByRole("link", { name: `p-${PODS - 1}` }).waitFor();
  expect(await drawn()).toBeLessThan(100);
  await page.getByLabel("Filter by name, image, address or ID").fill("p-77");
  await page.getByText(`${PODS >= 10_000 ? 111 : 11} of ${shown(PODS)} pods`).waitFor();
  await page.getByLabel("Filter by name, image, address or ID").fill("");
  await page
    .getByRole("button", { name: /^app=app-/ })
    .first()
    .click();
  await page.getByText(`${PODS / 100} of ${shown(PODS)} pods`).waitFor();
  // The list is live: a pod that is deleted elsewhere disappears from it.
  const gone = ids.pop();
  await many.ok("DELETE", `/v1/pods/${gone}`);
  await page.getByRole("button", { name: "Clear" }).click();
  await until("the list is updated", async () => (await page.getByText(`${shown(PODS - 1)} pods`).count()) > 0, 30);
  const some = `p-${PODS / 2}`;
  await page.keyboard.press("/");
  await page.getByRole("combobox", { name: "Name of a page" }).fill(some);
  await page
    .getByRole("option", { name: new RegExp(`^${some}`) })
    .first()
    .click();
  await page.getByRole("heading", { name: new RegExp(some) }).waitFor();
});
