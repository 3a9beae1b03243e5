// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { limit } from "./limit";
import { Api, expectFaults, type Key, newContext, setup, signedIn, signIn } from "./stack";

test("a wrong secret is rejected, and the right one is then accepted", async () => {
  const page = await (await newContext()).newPage();
  expectFaults(/401 \(Unauthorized\)/);
  await page.goto("/ui/pods");
  await page.getByLabel("Key ID").fill(setup.owner.clientId);
  await page.getByLabel("Secret").fill("wrong");
  await page.getByRole("button", { name: "Sign in with an API key" }).click();
  await page.getByRole("alert").waitFor();
  await signIn(page, setup.owner);
  await page.waitForURL("**/ui/pods"); // the page that was requested first
});

test("a person signs in with the issuer and returns to the requested page", async () => {
  const page = await (await newContext()).newPage();
  expectFaults(new RegExp(`${setup.issuer}.*404`)); // the issuer has no favicon
  await page.goto("/ui/volumes");
  await page.getByRole("button", { name: "Sign in with login" }).click();
  await page.waitForURL(`${setup.issuer}/**`);
  await page.locator("input[name=username]").fill(setup.user.name);
  await page.locator("input[name=password]").fill(setup.user.password);
  await page.locator("[type=submit]").click();
  await page.waitForURL("**/ui/volumes");
  await page.getByRole("heading", { name: "Volumes", exact: true }).waitFor();
  await page.getByRole("button", { name: new RegExp(setup.user.tenant) }).waitFor();
  // A code works once, and only in the browser that requested it.
  await page.goto("/ui/login/callback?code=stolen&state=whatever");
  await page.getByText("was not started in this tab").waitFor();
});

test("sessions of several tenants are shared by all tabs, and signing out ends them in all tabs", async () => {
  const context = await newContext();
  const page = await context.newPage();
  await page.goto("/ui/");
  await signIn(page, setup.owner);
  await page.getByRole("button", { name: new RegExp(`^${setup.tenantName}`) }).click();
  await page.getByRole("link", { name: "Sign in to another tenant" }).click();
  await signIn(page, setup.stranger);
  await page.getByRole("heading", { name: setup.strangerName, level: 1 }).waitFor();
  await page.getByRole("button", { name: new RegExp(`^${setup.strangerName}`) }).click();
  await page.getByRole("button", { name: new RegExp(setup.tenantName) }).click();
  await page.getByRole("heading", { name: setup.tenantName, level: 1 }).waitFor();

  const second = await context.newPage();
  await second.goto("/ui/pods");
  await second.getByRole("button", { name: new RegExp(`^${setup.tenantName}`) }).waitFor();
  for (const name of [setup.tenantName, setup.strangerName]) {
    await page.getByRole("button", { name: new RegExp(`^${name}`) }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
  }
  for (const p of [page, second]) await p.getByRole("heading", { name: "Sign in to Husk" }).waitFor();
});

test("revoking a key ends the session immediately", async () => {
  const owner = new Api(setup.owner);
  const account = await owner.ok<{ id: string }>("POST", "/v1/service-accounts", { name: "short-lived", role: "viewer" });
  const key = await owner.ok<Key>("POST", `/v1/service-accounts/${account.id}/api-keys`, { name: "k" });
  const page = await signedIn(key);
  expectFaults(/401 \(Unauthorized\)/);
  await owner.ok("DELETE", `/v1/service-accounts/${account.id}`);
  // Use the keyboard, because the link is missing if the page already knows that the session has
  // ended.
  await page.keyboard.press("g");
  await page.keyboard.press("u");
  await page.getByRole("heading", { name: "Sign in to Husk" }).waitFor();
});

test("a page that was offline catches up when the server is reachable again", async () => {
  const owner = new Api(setup.owner);
  const page = await signedIn(setup.owner);
  expectFaults(/ERR_INTERNET_DISCONNECTED|Failed to load/);
  await page.getByRole("link", { name: "Volumes", exact: true }).click();
  await page.getByRole("heading", { name: "No volumes yet" }).waitFor();
  await page.context().setOffline(true);
  await page.reload().catch(() => undefined);
  await page.context().setOffline(false);
  await page.goto("/ui/volumes");
  await page.getByRole("heading", { name: "No volumes yet" }).waitFor();
  const volume = await owner.ok<{ id: string }>("POST", "/v1/volumes", { name: "meanwhile", sizeGiB: 1 });
  await page.getByRole("link", { name: "meanwhile" }).waitFor();
  await owner.ok("DELETE", `/v1/volumes/${volume.id}`);
  await page.getByRole("heading", { name: "No volumes yet" }).waitFor({ timeout: limit(30) });
});

test("the session is renewed before its token ends", async () => {
  const page = await signedIn(setup.owner);
  const token = () => page.evaluate(() => JSON.parse(sessionStorage.getItem("husk.sessions") ?? "{}").sessions[0].token as string);
  const first = await token();
  // Simulate an old token: change the stored session so that it expires in a minute.
  await page.evaluate(() => {
    const kept = JSON.parse(sessionStorage.getItem("husk.sessions") ?? "{}");
    kept.sessions[0].expiresAt = Date.now() + 60_000;
    sessionStorage.setItem("husk.sessions", JSON.stringify(kept));
  });
  await page.reload();
  await page.getByRole("heading", { name: setup.tenantName, level: 1 }).waitFor();
  await expect.poll(token, { timeout: limit(10) }).not.toBe(first);
});
