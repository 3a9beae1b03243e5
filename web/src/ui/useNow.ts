// SPDX-License-Identifier: Apache-2.0

import { useEffect, useState } from "react";

/** useNow returns the current time and updates it at the given interval in milliseconds. */
export function useNow(every: number) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
