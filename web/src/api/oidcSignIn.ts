// SPDX-License-Identifier: Apache-2.0

// Signs in with an OIDC issuer: the authorization code flow with PKCE (RFC 7636). The server redeems the code, so the page calls no other host.
import { randomText } from "./client";
import { SignInError, signIn } from "./session";

interface Started {
  state: string;
  verifier: string;
  issuer: string;
  clientId: string;
  tenant: string;
  next?: string;
}

const STORAGE = "husk.signing-in";
const redirectUri = () => `${location.origin}/ui/login/callback`;
const scope = (tenant: string): Record<string, string> => (tenant ? { scope: `tenant:${tenant}` } : {});

const base64url = (bytes: Uint8Array) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** beginSignIn sends the browser to the issuer. */
export async function beginSignIn(to: { issuer: string; clientId: string; tenant: string; next?: string }) {
  if (!crypto.subtle)
    throw new SignInError("Signing in with an issuer requires HTTPS. Open this page over HTTPS, or sign in with an API key.");
  const started: Started = { ...to, state: randomText(), verifier: randomText() + randomText() };
  const challenge = base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(started.verifier))));
  sessionStorage.setItem(STORAGE, JSON.stringify(started));
  const query = new URLSearchParams({
    issuer: to.issuer,
    client_id: to.clientId,
    redirect_uri: redirectUri(),
    state: started.state,
    code_challenge: challenge,
    ...scope(to.tenant),
  });
  location.assign(`/oauth2/authorize?${query}`);
}

/** endSignIn completes the sign-in on the page to which the issuer sends the browser back. It returns the path that the user wanted to open. */
export async function endSignIn(returned: { code?: string; state?: string; error?: string; error_description?: string }): Promise<string> {
  const kept = sessionStorage.getItem(STORAGE);
  sessionStorage.removeItem(STORAGE);
  const started = kept ? (JSON.parse(kept) as Started) : undefined;
  if (returned.error) throw new SignInError(`The issuer rejected the sign-in: ${returned.error_description ?? returned.error}.`);
  if (!started || !returned.code || started.state !== returned.state)
    throw new SignInError("This sign-in was not started in this tab, or it has already been completed. Start again.");
  await signIn({
    grant_type: "authorization_code",
    issuer: started.issuer,
    client_id: started.clientId,
    code: returned.code,
    code_verifier: started.verifier,
    redirect_uri: redirectUri(),
    ...scope(started.tenant),
  });
  return started.next ?? "/";
}
