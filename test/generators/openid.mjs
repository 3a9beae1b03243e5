// SPDX-License-Identifier: Apache-2.0

// Uses openid-client with both metadata documents of the server: gets a token with client credentials, and calls the API with it.
import * as client from "openid-client";

const { HUSK_API, HUSK_CLIENT_ID, HUSK_CLIENT_SECRET, HUSK_IMAGE } = process.env;
const insecure = HUSK_API.startsWith("http:") ? [client.allowInsecureRequests] : [];

for (const algorithm of ["oidc", "oauth2"]) {
  const config = await client.discovery(new URL(HUSK_API), HUSK_CLIENT_ID, HUSK_CLIENT_SECRET, undefined, { algorithm, execute: insecure });
  const token = await client.clientCredentialsGrant(config);
  const call = async (method, path, body) => {
    const response = await client.fetchProtectedResource(
      config,
      token.access_token,
      new URL(path, HUSK_API),
      method,
      body ? JSON.stringify(body) : undefined,
      body ? new Headers({ "Content-Type": "application/json" }) : undefined,
    );
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? undefined : response.json();
  };
  const created = await call("POST", "/v1/pods", {
    name: `by-openid-client-${algorithm}`,
    spec: { containers: [{ name: "main", image: HUSK_IMAGE, args: ["sleep", "1000"] }], resources: { cpuMillis: 250, memoryMiB: 128 } },
  });
  const { items } = await call("GET", "/v1/pods");
  if (!items.some((p) => p.id === created.id)) throw new Error(`the list of pods is ${JSON.stringify(items)}`);
  await call("DELETE", `/v1/pods/${created.id}`);
}
