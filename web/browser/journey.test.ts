// SPDX-License-Identifier: Apache-2.0

import { afterAll, beforeAll, expect, test } from "vitest";
import { limit } from "./limit";
import { Api, expectFaults, gone, type Pod, setup, signedIn, until } from "./stack";

const owner = new Api(setup.fresh);

afterAll(async () => {
  const { items } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  await Promise.all(items.map((p) => gone(owner, p)));
  const volumes = await owner.ok<{ items: { id: string }[] }>("GET", "/v1/volumes");
  for (const v of volumes.items)
    await until("the volume is deleted", async () => (await owner.call("DELETE", `/v1/volumes/${v.id}`)).status < 300);
});

beforeAll(async () => {
  const { items } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  expect(items).toEqual([]);
});

const registry = { kind: "Secret", name: "registry", values: { "config.json": '{"auths": {"registry.example.com": {"auth": "YTpi"}}}' } };

test("an owner creates, inspects and deletes a pod in an empty tenant without a reload", async () => {
  const page = await signedIn(setup.fresh);
  let loads = 0;
  page.on("load", () => {
    loads++;
  });

  // In an empty tenant, the texts link to the first steps.
  await page.getByRole("heading", { name: "No pods yet" }).waitFor();
  await page.getByRole("link", { name: "Create a volume" }).click();
  await page.getByRole("heading", { name: "No volumes yet" }).waitFor();
  await page.getByRole("button", { name: "Create a volume" }).first().click();
  await page.getByRole("textbox", { name: "Name" }).fill("kept");
  await page.getByLabel("Size in GiB").fill("1");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("row", { name: /kept Available 1 GiB/ }).waitFor();

  // The form and the document describe the same pod.
  const secret = await owner.ok<{ id: string }>("POST", "/v1/configs", registry);
  await page.keyboard.press("c");
  await page.getByRole("heading", { name: "New pod" }).waitFor();
  await page.getByLabel("Name", { exact: true }).fill("greeter");
  await page.getByRole("button", { name: "Tiny" }).click();
  await page.getByLabel("Image").fill(setup.busybox);
  await page.getByLabel("Arguments").fill(`sh -c 'i=0; while true; do i=$((i+1)); echo "hello $i" | tee -a /data/log; sleep 1; done'`);
  await page.getByLabel("Attach a volume").selectOption({ label: "kept, 1 GiB" });
  await page.getByLabel("Path of kept").fill("/data");
  const text = page.getByLabel("Document");
  expect(await text.inputValue()).toContain("mountPath: /data");
  expect(await page.getByRole("region", { name: "As text" }).innerText()).toContain("husk run -d --name greeter --cpus 0.25 -m 128m");
  await page.getByRole("button", { name: "Empty directory", exact: true }).click();
  await page.getByLabel("Path of scratch").fill("/scratch");
  expect(await text.inputValue()).toContain("emptyDir: {}");
  await page.getByLabel("Size limit of scratch in MiB").fill("64");
  expect(await text.inputValue()).toContain("sizeMiB: 64");
  await page.getByRole("button", { name: "Remove the volume scratch" }).click();
  await page.getByLabel("Grace period in seconds").fill("1");
  await text.fill((await text.inputValue()).replace("name: greeter", "name: greeter\nlabels:\n  app: hello"));
  expect(await page.getByLabel("Labels: name 1").inputValue()).toBe("app");
  await page.getByLabel("Format").selectOption("json");
  expect(JSON.parse(await text.inputValue())).toMatchObject({ kind: "Pod", name: "greeter", labels: { app: "hello" } });

  // The image is not imported yet, so the form imports it first, with the logins of a secret. Then the page shows the pod becoming Running.
  await page.getByLabel("Logins").selectOption({ label: "The secret registry" });
  const imported = page.waitForRequest((r) => r.method() === "POST" && r.url().endsWith("/v1/images"));
  await page.getByRole("button", { name: "Create pod" }).click();
  expect((await imported).postDataJSON()).toEqual({ reference: setup.busybox, registrySecrets: ["registry"] });
  await page.getByRole("heading", { name: /greeter/ }).waitFor({ timeout: limit(60) });
  await page.getByRole("heading", { name: /greeter.*Running/ }).waitFor({ timeout: limit(90) });
  expect(await page.getByRole("listitem").filter({ hasText: "Containers running" }).innerText()).toMatch(/\+ .*s/);

  await page.getByRole("tab", { name: "Logs" }).click();
  await page
    .getByText("hello 1", { exact: true })
    .or(page.getByRole("log").locator("[data-index]", { hasText: "hello" }))
    .first()
    .waitFor();
  expect((await owner.call("DELETE", `/v1/configs/${secret.id}`)).status).toBeLessThan(300);
  const before = await page.getByText(/^[\d,]+ lines?/).innerText();
  await until("the log grows", async () => (await page.getByText(/^[\d,]+ lines?/).innerText()) !== before);

  await page.getByRole("tab", { name: "Terminal" }).click();
  await page.locator(".xterm-rows", { hasText: "#" }).waitFor();
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type("echo typed-$((6*7)); stty size; exit 3\n");
  await page.locator(".xterm-rows", { hasText: "typed-42" }).waitFor();
  await page.getByText("The shell exited with code 3.").waitFor();
  const size = /(\d+) (\d+)/.exec((await page.locator(".xterm-rows").innerText()).replace(/.*typed-42/s, ""));
  expect(Number(size?.[1])).toBeGreaterThan(15);
  expect(Number(size?.[2])).toBeGreaterThan(80);

  await page.getByRole("tab", { name: "Metrics" }).click();
  const chart = page.getByRole("img", { name: /^Memory: used [1-9]/ });
  await chart.waitFor();
  const cpu = page.getByRole("img", { name: /^CPU: used, of one core/ });
  const first = await cpu.getAttribute("aria-label");
  await until("the metrics change", async () => (await cpu.getAttribute("aria-label")) !== first, 30);

  // It becomes larger where it is.
  await page.getByRole("button", { name: "Resize" }).click();
  await page.getByLabel("Cores").fill("0.5");
  await page.getByLabel("Memory in MiB").fill("192");
  await page.getByRole("button", { name: "Change size" }).click();
  await page.getByRole("tab", { name: "Overview" }).click();
  await page.getByText("0.5 cores, 192 MiB").first().waitFor();
  await until("the pod has its new size", async () => (await page.getByText("At the moment").count()) === 0, 30);

  await page.getByRole("tab", { name: "Console" }).click();
  await page.locator(".xterm-rows", { hasText: /\S/ }).waitFor();
  await page.getByRole("tab", { name: "Placement" }).click();
  await page.getByText("Decided").waitFor();
  await page.getByRole("tab", { name: "Events" }).click();
  await page.getByRole("listitem").filter({ hasText: "Running" }).waitFor();
  await page.getByRole("tab", { name: "Spec" }).click();
  expect(await page.getByLabel("The pod's document").innerText()).toContain("name: greeter");

  // The search finds the pod's volume, whose page links to the pod.
  await page.keyboard.press("/");
  await page.getByRole("combobox", { name: "Name of a page" }).fill("kept");
  await page.getByRole("option", { name: /kept/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: /kept.*In use/ }).waitFor();
  await page.getByRole("link", { name: "greeter" }).click();

  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Pod greeter has been deleted" }).waitFor({ timeout: limit(60) });

  // The usage includes the pod.
  await until(
    "the ledger includes the pod",
    async () => (await owner.ok<{ items: { name?: string }[] }>("GET", "/v1/usage?groupBy=object")).items.some((u) => u.name === "greeter"),
    90,
  );
  await page.keyboard.press("g");
  await page.keyboard.press("u");
  await page.getByRole("row", { name: /greeter pod/ }).waitFor();
  expect(loads).toBe(0);
});

test("the form shows a rejected pod's error at the field", async () => {
  const page = await signedIn(setup.fresh);
  expectFaults(/403 \(Forbidden\)/);
  await page.goto("/ui/pods/new");
  await page.getByLabel("Name", { exact: true }).fill("toobig");
  await page.getByLabel("Image").fill(setup.busybox);
  await page.getByLabel("Cores").fill("200");
  await page.getByRole("button", { name: "Create pod" }).click();
  const problem = page.getByRole("alert");
  await problem.waitFor();
  expect(await problem.innerText()).toMatch(/quota_exceeded in .*cpuMillis.*request/s);
  await page.getByLabel("Document").fill("kind: Pod\nnome: x");
  await page.getByText("unknown field nome", { exact: false }).waitFor();
});

test("a pod that does not fit shows the reason, and pods can be deleted by label", async () => {
  const page = await signedIn(setup.fresh);
  for (const [name, app] of [
    ["lost-1", "lost"],
    ["lost-2", "lost"],
    ["other", "other"],
  ])
    await owner.ok("POST", "/v1/pods", {
      name,
      labels: { app },
      spec: {
        containers: [{ name: "main", image: setup.busybox }],
        resources: { cpuMillis: 100, memoryMiB: 128 },
        scheduling: { nodeSelector: { disk: "unobtainium" } },
      },
    });
  await page.getByRole("link", { name: "Pods", exact: true }).click();
  await page.getByRole("row", { name: /lost-1/ }).waitFor();
  await page.getByRole("row", { name: /other/ }).waitFor();
  await page.getByRole("link", { name: "other" }).click();
  await page.getByRole("link", { name: "Why?" }).click();
  await page
    .getByText(/nodes lack a required label/)
    .first()
    .waitFor();
  await page.getByText("NotSelected").first().waitFor();

  await page.getByRole("link", { name: "Pods", exact: true }).click();
  await page.getByRole("button", { name: "app=lost" }).first().click();
  await page.getByText(/^2 of \d+ pods/).waitFor();
  await page.getByLabel("Select all Pods").check();
  await page.getByRole("button", { name: "Delete 2 pods" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "No pods match" }).waitFor({ timeout: limit(30) });
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByRole("row", { name: /other/ }).waitFor();
});

test("networks are created, drawn with their pods, and deleted", async () => {
  const page = await signedIn(setup.fresh);
  await page.getByRole("link", { name: "Networks", exact: true }).click();
  for (const [name, isolated] of [
    ["back", false],
    ["vault", true],
  ] as const) {
    await page.getByRole("button", { name: "Create a network" }).click();
    await page.getByRole("textbox", { name: "Name" }).fill(name);
    if (name === "back") await page.getByRole("textbox", { name: "Range", exact: true }).fill("10.1.0.0/24");
    if (isolated) await page.getByText("Isolated: its pods reach only each other").click();
    await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
    await page.getByRole("row", { name: new RegExp(`^${name}`) }).waitFor();
  }
  const { items: before } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  await Promise.all(before.map((p) => gone(owner, p)));
  const spec = { containers: [{ name: "main", image: setup.busybox }], resources: { cpuMillis: 100, memoryMiB: 128 } };
  const unplaced = { scheduling: { nodeSelector: { disk: "unobtainium" } } };
  for (const [name, network] of [
    ["member", "back"],
    ["secret", "vault"],
  ])
    await owner.ok("POST", "/v1/pods", { name, spec: { ...spec, ...unplaced, networks: [{ network }] } });
  const map = page.getByRole("group", { name: "Map of the networks" });
  await map.getByRole("button", { name: /^member 10\.1\.0\./ }).click();
  await page.getByText("member can connect to 0 other pods.").waitFor();
  await owner.ok("POST", "/v1/pods", { name: "front", spec: { ...spec, ...unplaced } });
  await page.getByText("member can connect to 1 other pod.").waitFor();
  await page.getByRole("button", { name: "Show all" }).click();
  await map.getByRole("button", { name: /^secret / }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("secret can connect to 0 other pods.").waitFor();
  expect(await page.getByRole("row", { name: /10\.1\.0\.2.*member/ }).count()).toBe(1);

  const { items } = await owner.ok<{ items: Pod[] }>("GET", "/v1/pods");
  await Promise.all(items.map((p) => gone(owner, p)));
  await page.getByRole("button", { name: "Delete network vault" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await until("the network is deleted", async () => (await page.getByRole("row", { name: /^vault/ }).count()) === 0);
  expect(await page.getByRole("button", { name: "Delete network default" }).count()).toBe(0);
  await owner.call("DELETE", `/v1/networks/${(await owner.ok<{ items: { id: string }[] }>("GET", "/v1/networks?name=back")).items[0]?.id}`);
});
