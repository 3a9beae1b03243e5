// SPDX-License-Identifier: Apache-2.0

import { Link, Outlet, useNavigate, useRouter, useRouterState } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { keyOf, type Session, useSession, useSignedIn } from "../api/session";
import { Connection } from "./Connection";
import { Help } from "./Help";
import { IconButton } from "./IconButton";
import { Icon, type IconName } from "./icons";
import { type GoTo, useKeys } from "./keys";
import { Logo } from "./Logo";
import { Palette } from "./Palette";
import { usePageFocus } from "./pageFocus";
import { SessionMenu } from "./SessionMenu";
import styles from "./Shell.module.css";
import { ThemeButton } from "./ThemeButton";
import { Toasts } from "./toasts";

export interface NavPage {
  to: string;
  name: string;
  icon: IconName;
  key: string; // pressed after g
  owners?: boolean;
}

const TENANT: NavPage[] = [
  { to: "/", name: "Overview", icon: "overview", key: "o" },
  { to: "/pods", name: "Pods", icon: "pods", key: "p" },
  { to: "/volumes", name: "Volumes", icon: "volumes", key: "v" },
  { to: "/images", name: "Images", icon: "images", key: "i" },
  { to: "/configs", name: "Configs", icon: "configs", key: "c" },
  { to: "/services", name: "Services", icon: "services", key: "s" },
  { to: "/ingresses", name: "Ingresses", icon: "ingresses", key: "h" },
  { to: "/addresses", name: "Addresses", icon: "addresses", key: "d" },
  { to: "/security-groups", name: "Security groups", icon: "groups", key: "g" },
  { to: "/networks", name: "Networks", icon: "network", key: "n" },
  { to: "/events", name: "Events", icon: "events", key: "e" },
  { to: "/operations", name: "Operations", icon: "operations", key: "r" },
  { to: "/usage", name: "Usage", icon: "usage", key: "u" },
  { to: "/access", name: "Access", icon: "access", key: "a", owners: true },
  { to: "/audit", name: "Audit log", icon: "audit", key: "l", owners: true },
];

const OPERATOR: NavPage[] = [
  { to: "/admin/nodes", name: "Nodes", icon: "nodes", key: "n" },
  { to: "/admin/tenants", name: "Tenants", icon: "tenants", key: "t" },
  { to: "/admin/platform", name: "Platform", icon: "access", key: "p" },
  { to: "/admin/operations", name: "Operations", icon: "operations", key: "r" },
  { to: "/admin/usage", name: "Usage", icon: "usage", key: "u" },
  { to: "/admin/audit", name: "Audit log", icon: "audit", key: "l" },
];

/** pagesOf returns the pages that the session has access to. */
export const pagesOf = (s: Session) => (s.kind === "operator" ? OPERATOR : TENANT.filter((p) => !p.owners || s.role === "owner"));

/** Shell is the frame around every page except the login: the current session, the navigation and the search. */
export function Shell() {
  const signedIn = useSignedIn();
  const navigate = useNavigate();
  const router = useRouter();
  useEffect(() => {
    if (!signedIn) void navigate({ to: "/login", search: { next: router.state.location.href } });
  }, [signedIn, navigate, router]);
  return signedIn ? <SignedIn /> : null;
}

/** pageOf returns the path of a page in the frame, and nothing for the login, after which the focus stays at the top. */
const pageOf = (path = "") => (path.startsWith("/login") ? "" : path);

function SignedIn() {
  const session = useSession();
  const [menu, setMenu] = useState(false);
  const [layer, setLayer] = useState<"search" | "help" | undefined>();
  const navigate = useNavigate();
  const at = useRouterState({ select: (s) => s.location.pathname });
  const pages = pagesOf(session);
  // biome-ignore lint/correctness/useExhaustiveDependencies: opening a page closes the menu
  useEffect(() => setMenu(false), [at]);
  usePageFocus(useRouterState({ select: (s) => pageOf(s.resolvedLocation?.pathname) }));
  useKeys({
    search: () => setLayer("search"),
    help: () => setLayer("help"),
    goTo: pages.map((p): GoTo => [p.key, () => void navigate({ to: p.to })]),
    create: session.kind === "tenant" && session.role !== "viewer" ? () => void navigate({ to: "/pods/new" }) : undefined,
  });
  return (
    <div className={menu ? `${styles.shell} ${styles.open}` : styles.shell} key={keyOf(session)}>
      <a className={styles.skip} href="#content">
        Skip to content
      </a>
      <header className={styles.bar}>
        <IconButton
          icon={menu ? "close" : "menu"}
          size={20}
          className={styles.narrowOnly}
          label="Menu"
          aria-expanded={menu}
          aria-controls="pages"
          onClick={() => setMenu(!menu)}
        />
        <Link to="/" className={styles.brand}>
          <Logo size={22} />
          <span>Husk</span>
        </Link>
        <SessionMenu />
        <button type="button" className={styles.search} onClick={() => setLayer("search")}>
          <Icon name="search" />
          <span>Search</span>
          <kbd>/</kbd>
        </button>
        <ThemeButton />
        <IconButton
          icon="help"
          size={18}
          label="Help and keyboard shortcuts"
          title="Help and keyboard shortcuts (?)"
          onClick={() => setLayer("help")}
        />
      </header>
      <nav id="pages" className={styles.pages} aria-label="Pages">
        {pages.map((p) => (
          <Link
            key={p.to}
            to={p.to}
            activeOptions={{ exact: p.to === "/" }}
            activeProps={{ className: styles.here, "aria-current": "page" }}
            className={styles.pageLink}
          >
            <Icon name={p.icon} size={18} />
            <span>{p.name}</span>
          </Link>
        ))}
      </nav>
      <main id="content" className={styles.content} tabIndex={-1}>
        <Connection />
        <Outlet />
      </main>
      {layer === "search" && <Palette close={() => setLayer(undefined)} pages={pages} />}
      {layer === "help" && <Help close={() => setLayer(undefined)} pages={pages} />}
      <Toasts />
    </div>
  );
}
