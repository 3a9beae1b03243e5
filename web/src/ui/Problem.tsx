// SPDX-License-Identifier: Apache-2.0

import { ApiError } from "../api/client";
import { SignInError } from "../api/session";
import { Button } from "./Button";
import { Icon } from "./icons";
import styles from "./Problem.module.css";

/** Problem shows an error: what happened, its code, and the request ID, which is also in the server's log. */
export function Problem({ error, title, retry }: { error: unknown; title?: string; retry?: () => void }) {
  if (!error) return null;
  const api = error instanceof ApiError ? error : undefined;
  const text =
    error instanceof ApiError || error instanceof SignInError
      ? error.message
      : `Internal error in the dashboard: ${error instanceof Error ? error.message : error}`;
  return (
    <div className={styles.problem} role="alert">
      <Icon name="warn" />
      <div>
        {title && <strong>{title} </strong>}
        <span>{sentence(text)}</span>
        {api && (
          <p className={styles.facts}>
            <code>{api.code}</code>
            {api.field && (
              <>
                {" in "}
                <code>{api.field}</code>
              </>
            )}
            {api.requestId && (
              <>
                {" · request "}
                <code>{api.requestId}</code>
              </>
            )}
          </p>
        )}
      </div>
      {retry && (
        <Button small onClick={retry}>
          Retry
        </Button>
      )}
    </div>
  );
}

/** sentence capitalizes the first letter, which is lower case in the API's details. */
export const sentence = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);
