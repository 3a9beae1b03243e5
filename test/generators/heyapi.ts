// SPDX-License-Identifier: Apache-2.0

// Uses the client that hey-api generates: logs in, and creates, lists and deletes a pod.
import { client } from "./build/heyapi/client.gen";
import { createPod, deletePod, issueToken, listPods } from "./build/heyapi/sdk.gen";

const env = (name: string) => process.env[name] ?? "";

async function run() {
  client.setConfig({ baseUrl: env("HUSK_API"), throwOnError: true });
  const login = await issueToken({
    body: { grant_type: "client_credentials", client_id: env("HUSK_CLIENT_ID"), client_secret: env("HUSK_CLIENT_SECRET") },
    throwOnError: true,
  });
  client.setConfig({ auth: () => login.data.access_token });
  const created = await createPod({
    body: {
      name: "by-hey-api",
      spec: {
        containers: [{ name: "main", image: env("HUSK_IMAGE"), args: ["sleep", "1000"] }],
        resources: { cpuMillis: 250, memoryMiB: 128 },
      },
    },
    throwOnError: true,
  });
  const pods = await listPods({ throwOnError: true });
  if (typeof pods.data === "string" || !pods.data.items.some((p) => p.id === created.data.id && p.name === "by-hey-api"))
    throw new Error(`the list of pods is ${JSON.stringify(pods.data)}`);
  await deletePod({ path: { podId: created.data.id }, throwOnError: true });
}

run().catch((err) => {
  console.error(err);
  process.exit(1);
});
