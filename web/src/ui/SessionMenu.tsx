// SPDX-License-Identifier: Apache-2.0

import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { keyOf, type Session, signOut, switchTo, useSession, useSessions } from "../api/session";
import { Icon } from "./icons";
import styles from "./SessionMenu.module.css";

const titleOf = (s: Session) => (s.kind === "operator" ? "Operator" : (s.tenantName ?? ""));

/** SessionMenu switches between the sessions of this browser. */
export function SessionMenu() {
  const session = useSession();
  const sessions = useSessions();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const change = (key: string) => {
    setOpen(false);
    switchTo(key);
    queries.clear();
    void navigate({ to: "/" });
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it only closes the menu
    <div
      className={styles.menu}
      onKeyDown={(e) => e.key === "Escape" && setOpen(false)}
      onBlur={(e) => e.currentTarget.contains(e.relatedTarget) || setOpen(false)}
    >
      <button type="button" className={styles.button} aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className={styles.title}>{titleOf(session)}</span>
        <span className={styles.sub}>
          {session.name}
          {session.role && ` · ${session.role}`}
        </span>
        <Icon name="down" size={12} />
      </button>
      {open && (
        <div className={styles.list}>
          {sessions.map((s) => (
            <button type="button" key={keyOf(s)} aria-current={s === session} onClick={() => change(keyOf(s))}>
              <Icon name={s === session ? "check" : s.kind === "operator" ? "nodes" : "tenants"} />
              <span>
                {titleOf(s)}
                <small>
                  {s.name}
                  {s.role && ` · ${s.role}`}
                </small>
              </span>
            </button>
          ))}
          <Link to="/login" search={{ add: true }}>
            <Icon name="plus" />
            <span>Sign in to another tenant</span>
          </Link>
          <button type="button" onClick={() => signOut(keyOf(session))}>
            <Icon name="out" />
            <span>Sign out</span>
          </button>
        </div>
      )}
    </div>
  );
}
