// Signing in at an OIDC issuer: the authorization code flow with PKCE (RFC 7636). The server redeems the code, so the page calls nobody else.
import { randomText } from "./client";
import { SignInError, signIn } from "./session";

interface Begun {
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

/** beginSignIn leaves the page for the issuer. */
export async function beginSignIn(to: { issuer: string; clientId: string; tenant: string; next?: string }) {
  if (!crypto.subtle) throw new SignInError("A browser does this over HTTPS only. Open this page over HTTPS, or sign in with an API key.");
  const begun: Begun = { ...to, state: randomText(), verifier: randomText() + randomText() };
  const challenge = base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(begun.verifier))));
  sessionStorage.setItem(STORAGE, JSON.stringify(begun));
  const query = new URLSearchParams({
    issuer: to.issuer,
    client_id: to.clientId,
    redirect_uri: redirectUri(),
    state: begun.state,
    code_challenge: challenge,
    ...scope(to.tenant),
  });
  location.assign(`/oauth2/authorize?${query}`);
}

/** endSignIn is for the page that the issuer sends the browser back to. It returns where the user wanted to go. */
export async function endSignIn(came: { code?: string; state?: string; error?: string; error_description?: string }): Promise<string> {
  const kept = sessionStorage.getItem(STORAGE);
  sessionStorage.removeItem(STORAGE);
  const begun = kept ? (JSON.parse(kept) as Begun) : undefined;
  if (came.error) throw new SignInError(`The issuer did not sign you in: ${came.error_description ?? came.error}.`);
  if (!begun || !came.code || begun.state !== came.state)
    throw new SignInError("This sign-in was not begun in this tab, or it has ended already. Begin once more.");
  await signIn({
    grant_type: "authorization_code",
    issuer: begun.issuer,
    client_id: begun.clientId,
    code: came.code,
    code_verifier: begun.verifier,
    redirect_uri: redirectUri(),
    ...scope(begun.tenant),
  });
  return begun.next ?? "/";
}
