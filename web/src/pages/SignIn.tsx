// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { client, data } from "../api/client";
import { beginSignIn } from "../api/oidcSignIn";
import { LOGIN_OPTIONS } from "../api/queries";
import { signIn, useSessions, whySignedOut } from "../api/session";
import { Alone } from "../ui/Alone";
import { Button } from "../ui/Button";
import { Input } from "../ui/Field";
import { Hint } from "../ui/Hint";
import { Logo } from "../ui/Logo";
import { Note } from "../ui/Note";
import { Panel } from "../ui/Panel";
import { Problem } from "../ui/Problem";
import styles from "./SignIn.module.css";

/** SignIn signs in with an API key or with an OIDC issuer. */
export function SignIn() {
  const { next } = useSearch({ from: "/login" });
  const others = useSessions();
  const [why] = useState(whySignedOut);
  const navigate = useNavigate();
  const [id, setId] = useState("");
  const [secret, setSecret] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const options = useQuery({ queryKey: LOGIN_OPTIONS, queryFn: () => data(client.GET("/.well-known/husk")) });
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await signIn({ grant_type: "client_credentials", client_id: id.trim(), client_secret: secret.trim() });
      await navigate({ to: next ?? "/" });
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Alone className={styles.signIn}>
      <Logo size={56} />
      <h1>Sign in to Husk</h1>
      <p className={styles.lead}>Every pod is a separate virtual machine.</p>
      {why && (
        <Note role="alert">
          {why} {next ? "Sign in again to continue where you were." : "Sign in again."}
        </Note>
      )}
      <Panel onSubmit={submit} as="form">
        <Input
          label="Key ID"
          value={id}
          onChange={setId}
          name="username"
          autoComplete="username"
          placeholder="a41d6e8f-3b72-…"
          required
          autoFocus
        />
        <Input
          label="Secret"
          type="password"
          value={secret}
          onChange={setSecret}
          name="password"
          autoComplete="current-password"
          required
        />
        <Problem error={error} />
        <Button type="submit" look="primary" busy={busy}>
          Sign in with an API key
        </Button>
      </Panel>
      <IssuerSignIn issuers={options.data?.issuers ?? []} next={next} />
      {options.error && <Problem error={options.error} retry={() => void options.refetch()} />}
      {others.length > 0 && (
        <Button look="quiet" onClick={() => void navigate({ to: "/" })}>
          Back to {others[0]?.tenantName ?? "the current session"}
        </Button>
      )}
      <Hint>
        Owners of a tenant create API keys under <em>Access</em>, or with <code>husk api-key create</code>.
      </Hint>
    </Alone>
  );
}

/** IssuerSignIn signs in with an OIDC issuer of the installation, or with one that the tenant has configured. */
function IssuerSignIn({ issuers, next }: { issuers: { name: string; issuer: string; clientId: string }[]; next?: string }) {
  const [tenant, setTenant] = useState("");
  const [issuer, setIssuer] = useState("");
  const [clientId, setClientId] = useState("");
  const [error, setError] = useState<unknown>();
  const go = (to: { issuer: string; clientId: string }) => {
    setError(undefined);
    beginSignIn({ ...to, tenant: tenant.trim(), next }).catch(setError);
  };
  return (
    <Panel as="div">
      {issuers.map((i) => (
        <Button key={i.name} onClick={() => go(i)}>
          Sign in with {i.name}
        </Button>
      ))}
      <details open={tenant !== ""}>
        <summary>{issuers.length > 0 ? "Choose a tenant or its own issuer" : "Sign in with your tenant's OIDC issuer"}</summary>
        <form
          onSubmit={(e) => {
            e.preventDefault();
            go({ issuer: issuer.trim(), clientId: clientId.trim() });
          }}
        >
          <Input label="Tenant" value={tenant} onChange={setTenant} hint="Required if you belong to more than one tenant." required />
          <Input label="Issuer" type="url" value={issuer} onChange={setIssuer} placeholder="https://login.example.com" required />
          <Input label="Client ID" value={clientId} onChange={setClientId} required />
          <Button type="submit">Sign in with this issuer</Button>
        </form>
      </details>
      <Problem error={error} />
    </Panel>
  );
}
