// SPDX-License-Identifier: Apache-2.0

import { ago, dateTime } from "../lib/format";
import { useNow } from "./useNow";

/** When shows how long ago a moment was. The title has the exact time. */
export function When({ at }: { at?: string }) {
  const now = useNow(10_000);
  if (!at) return <span className="muted">never</span>;
  return (
    <time dateTime={at} title={dateTime(at)}>
      {ago(at, now)}
    </time>
  );
}
