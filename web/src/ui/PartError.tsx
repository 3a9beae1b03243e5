// SPDX-License-Identifier: Apache-2.0

import { Button } from "./Button";
import { Note } from "./Note";
import { Problem } from "./Problem";

const LOADING = /dynamically imported module|module script|Importing a module|preload CSS/i;

/** PartError shows why a page, or a part of it, is not there. A file that cannot be loaded is often one of an earlier version of the dashboard. */
export function PartError({ error }: { error: unknown }) {
  const file = error instanceof Error && LOADING.test(error.message);
  return (
    <div>
      {file ? (
        <Note role="alert">
          A file of the dashboard could not be loaded. The server does not respond, or it has another version of the dashboard by now.
        </Note>
      ) : (
        <Problem error={error} />
      )}
      <Button onClick={() => location.reload()}>Reload the page</Button>
    </div>
  );
}
