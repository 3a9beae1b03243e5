// SPDX-License-Identifier: Apache-2.0

import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { endSignIn } from "../api/oidcSignIn";
import { Alone } from "../ui/Alone";
import { Loading } from "../ui/Loading";
import { Problem } from "../ui/Problem";

/** SignInCallback is the page to which an issuer sends the browser back. */
export function SignInCallback() {
  const returned = useSearch({ from: "/login/callback" });
  const navigate = useNavigate();
  const [error, setError] = useState<unknown>();
  const once = useRef(false);
  useEffect(() => {
    if (once.current) return; // a code can be used only once
    once.current = true;
    endSignIn(returned)
      .then((next) => navigate({ to: next, replace: true }))
      .catch(setError);
  }, [returned, navigate]);
  return (
    <Alone>
      <h1>Sign in to Husk</h1>
      {error ? (
        <>
          <Problem error={error} />
          <Link to="/login">Back to the sign-in page</Link>
        </>
      ) : (
        <Loading what="Signing in" />
      )}
    </Alone>
  );
}
