// SPDX-License-Identifier: Apache-2.0

import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouter, useRouterState } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { keyOf, type Session, signOut, switchTo, useSession, useSessions, useSignedIn } from "../api/session";
import { Connection } from "./Connection";
import { Help } from "./Help";
import { Icon, type IconName } from "./icons";
import { type GoTo, useKeys } from "./keys";
import { Palette } from "./Palette";
import { usePageFocus } from "./pageFocus";
import { applyTheme, isDark } from "./theme";
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
    <div className={menu ? "shell open" : "shell"} key={keyOf(session)}>
      <a className="skip" href="#content">
        Skip to content
      </a>
      <header className="bar">
        <button
          type="button"
          className="icon-button narrow-only"
          aria-label="Menu"
          aria-expanded={menu}
          aria-controls="pages"
          onClick={() => setMenu(!menu)}
        >
          <Icon name={menu ? "close" : "menu"} size={20} />
        </button>
        <Link to="/" className="brand">
          <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="7" className="brand-ground" />
            <path d="M9 7v18M23 7v18M9 16h14" className="brand-line" />
            <circle cx="16" cy="16" r="3.6" className="brand-seed" />
          </svg>
          <span>Husk</span>
        </Link>
        <SessionMenu />
        <button type="button" className="search-button" onClick={() => setLayer("search")}>
          <Icon name="search" />
          <span>Search</span>
          <kbd>/</kbd>
        </button>
        <ThemeButton />
        <button
          type="button"
          className="icon-button"
          aria-label="Help and keyboard shortcuts"
          title="Help and keyboard shortcuts (?)"
          onClick={() => setLayer("help")}
        >
          <Icon name="help" size={18} />
        </button>
      </header>
      <nav id="pages" className="pages" aria-label="Pages">
        {pages.map((p) => (
          <Link
            key={p.to}
            to={p.to}
            activeOptions={{ exact: p.to === "/" }}
            activeProps={{ className: "page-link here", "aria-current": "page" }}
            className="page-link"
          >
            <Icon name={p.icon} size={18} />
            <span>{p.name}</span>
          </Link>
        ))}
      </nav>
      <main id="content" className="content" tabIndex={-1}>
        <Connection />
        <Outlet />
      </main>
      {layer === "search" && <Palette close={() => setLayer(undefined)} pages={pages} />}
      {layer === "help" && <Help close={() => setLayer(undefined)} pages={pages} />}
      <Toasts />
    </div>
  );
}

const titleOf = (s: Session) => (s.kind === "operator" ? "Operator" : (s.tenantName ?? ""));

/** SessionMenu switches between the sessions of this browser. */
function SessionMenu() {
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
      className="menu"
      onKeyDown={(e) => e.key === "Escape" && setOpen(false)}
      onBlur={(e) => e.currentTarget.contains(e.relatedTarget) || setOpen(false)}
    >
      <button type="button" className="menu-button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className="menu-title">{titleOf(session)}</span>
        <span className="menu-sub">
          {session.name}
          {session.role && ` · ${session.role}`}
        </span>
        <Icon name="down" size={12} />
      </button>
      {open && (
        <div className="menu-list">
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

function ThemeButton() {
  const [dark, setDark] = useState(isDark);
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={dark ? "Light theme" : "Dark theme"}
      title={dark ? "Light theme" : "Dark theme"}
      onClick={() => {
        applyTheme(dark ? "light" : "dark");
        setDark(!dark);
      }}
    >
      <Icon name={dark ? "sun" : "moon"} size={18} />
    </button>
  );
}
