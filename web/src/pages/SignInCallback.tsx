import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { endSignIn } from "../api/signInElsewhere";
import { Problem } from "../ui/Problem";
import { Loading } from "../ui/parts";

/** SignInCallback is where an issuer sends the browser back to. */
export function SignInCallback() {
  const came = useSearch({ from: "/login/callback" });
  const navigate = useNavigate();
  const [error, setError] = useState<unknown>();
  const once = useRef(false);
  useEffect(() => {
    if (once.current) return; // a code is good for one time
    once.current = true;
    endSignIn(came)
      .then((next) => navigate({ to: next, replace: true }))
      .catch(setError);
  }, [came, navigate]);
  return (
    <main className="alone">
      <h1>Sign in to Husk</h1>
      {error ? (
        <>
          <Problem error={error} />
          <Link to="/login">Back to the sign-in page</Link>
        </>
      ) : (
        <Loading what="Signing in" />
      )}
    </main>
  );
}
