// SPDX-License-Identifier: Apache-2.0

import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Api, gone, haveImage, open, type Pod, setup, signedIn, until } from "./stack";

const owner = new Api(setup.owner);
let pod: Pod;

beforeAll(async () => {
  await haveImage(owner, setup.busybox);
  pod = await owner.ok<Pod>("POST", "/v1/pods", {
    name: "shells",
    spec: {
      terminationGracePeriodSeconds: 1,
      resources: { cpuMillis: 250, memoryMiB: 128 },
      containers: [{ name: "main", image: setup.busybox, args: ["sleep", "100000"] }],
    },
  });
  await until("the pod runs", async () => (await owner.ok<Pod>("GET", `/v1/pods/${pod.id}`)).status.phase === "Running", 90);
});

afterAll(() => gone(owner, pod));

async function shell(page: Page) {
  await open(page, `/pods/${pod.id}?tab=terminal`);
  await page.locator(".xterm-rows", { hasText: "#" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
}

/** colours returns the colours in which the terminal shows a word of its output. */
async function colours(page: Page, word: string): Promise<[string, string]> {
  const span = page.locator(".xterm-rows span", { hasText: new RegExp(`^${word}`) }).last();
  await span.waitFor();
  return span.evaluate((e) => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]);
}

/** contrast is the ratio of two colours (WCAG 2.2). */
function contrast(...of: [string, string]) {
  const [a, b] = of.map((colour) => {
    const [red, green, blue] = (colour.match(/\d+/g) ?? []).map((n) => {
      const c = Number(n) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  }) as [number, number];
  return Math.max(a, b) / Math.min(a, b);
}

test("a terminal shows inverse text, colours of the palette and other colours, in both themes", async () => {
  const page = await signedIn(setup.owner);
  await shell(page);
  const ESC = "\\033";
  await page.keyboard.type(
    `clear; printf "${ESC}[7mINVERSE${ESC}[0m ${ESC}[38;2;240;90;20;48;2;10;20;120mTRUE${ESC}[0m ${ESC}[31mRED${ESC}[0m ${ESC}[7;38;2;1;2;3mDARK${ESC}[0m\\n"\n`,
  );
  const ink = "rgb(28, 29, 26)"; // the text of the light theme
  const [text, ground] = await colours(page, "INVERSE");
  expect(ground).toBe(ink);
  expect(contrast(text, ground)).toBeGreaterThanOrEqual(4.5);
  expect((await colours(page, "TRUE"))[1]).toBe("rgb(10, 20, 120)");
  expect((await colours(page, "TRUE"))[0]).toMatch(/^rgb\(2\d\d, /); // orange, perhaps made lighter for the contrast
  expect((await colours(page, "RED"))[0]).not.toBe(ink);
  expect((await colours(page, "DARK"))[1]).toBe("rgb(1, 2, 3)");
  expect(contrast(...(await colours(page, "DARK")))).toBeGreaterThanOrEqual(4.5);
  // The theme changes while the terminal is open.
  await page.getByRole("button", { name: "Dark theme" }).click();
  await until("the terminal is dark", async () => (await colours(page, "INVERSE"))[1] === "rgb(231, 233, 227)", 5);
  expect(contrast(...(await colours(page, "INVERSE")))).toBeGreaterThanOrEqual(4.5);
  await page.getByRole("button", { name: "Light theme" }).click();
});

test("a terminal accepts emoji and the input of an input method, and survives a change of the tab", async () => {
  const page = await signedIn(setup.owner);
  await shell(page);
  // The shell reads the terminal byte by byte. What arrives before it hands the terminal to cat is a byte to cat, Ctrl+D too.
  await page.keyboard.type('MARK=kept; echo rea""dy; cat > /tmp/typed\n');
  await page.locator(".xterm-rows", { hasText: "ready" }).waitFor();
  await page.keyboard.insertText("grüße 😀👩‍🚀 ");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Input.imeSetComposition", { text: "にほ", selectionStart: 2, selectionEnd: 2 });
  await devtools.send("Input.insertText", { text: "日本" });
  await page.keyboard.press("Enter");
  await page.keyboard.press("Control+D");
  await page.keyboard.type("wc -c < /tmp/typed; od -An -tx1 /tmp/typed | tr -d ' \\n'; echo\n");
  const bytes = Buffer.from("grüße 😀👩‍🚀 日本\n").toString("hex");
  await until(
    "the file has what was typed",
    async () => (await page.locator(".xterm-rows").innerText()).replace(/\s/g, "").includes(bytes),
    20,
  );

  await page.getByRole("tab", { name: "Overview" }).click();
  await page.getByText("Containers running").waitFor();
  await page.getByRole("tab", { name: "Terminal" }).click();
  await page.locator(".xterm-rows", { hasText: "MARK=kept" }).waitFor(); // the screen is still there
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("clear; echo still-$MARK\n");
  await page.locator(".xterm-rows", { hasText: "still-kept" }).waitFor();
  await page.getByRole("button", { name: "New shell" }).click();
  await page.locator(".xterm-rows", { hasText: "#", hasNotText: "still-kept" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("clear; echo mark-$MARK-\n");
  await page.locator(".xterm-rows", { hasText: "mark--" }).waitFor();
});
