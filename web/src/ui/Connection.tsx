// SPDX-License-Identifier: Apache-2.0

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useLostAt, watchConnection } from "../api/connection";
import { dateTime } from "../lib/format";
import styles from "./Connection.module.css";
import { Icon } from "./icons";

/** Connection says that the page is not up to date while the server does not respond. When it responds again, everything is read again. */
export function Connection() {
  const lostAt = useLostAt();
  const queries = useQueryClient();
  const was = useRef(false);
  useEffect(watchConnection, []);
  useEffect(() => {
    if (was.current && lostAt === undefined) void queries.invalidateQueries();
    was.current = lostAt !== undefined;
  }, [lostAt, queries]);
  if (lostAt === undefined) return null;
  return (
    <p className={styles.connection} role="alert">
      <Icon name="warn" /> The server does not respond. This page shows the state of {dateTime(new Date(lostAt).toISOString())}. It is
      updated as soon as the server responds again.
    </p>
  );
}
