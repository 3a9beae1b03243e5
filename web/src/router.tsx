// SPDX-License-Identifier: Apache-2.0

// Every page and its path under /ui/. Rarely used pages, and pages that need large libraries, are loaded on demand.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from "@tanstack/react-router";
import { currentSession } from "./api/session";
import { type Choice, readChoice } from "./lib/listSearch";
import { Overview } from "./pages/Overview";
import { PodPage } from "./pages/pod/PodPage";
import { Pods } from "./pages/pod/Pods";
import { TABS, type Tab } from "./pages/pod/tabs";
import { SignIn } from "./pages/SignIn";
import { Alone } from "./ui/Alone";
import { Empty } from "./ui/Empty";
import { PartError } from "./ui/PartError";
import { Problem } from "./ui/Problem";
import { Shell } from "./ui/Shell";

const root = createRootRoute({
  component: () => <Outlet />,
  notFoundComponent: () => (
    <Alone>
      <Empty title="Page not found">
        <a href="/ui/">Go to the overview</a>
      </Empty>
    </Alone>
  ),
});

const text = (v: unknown) => (typeof v === "string" && v !== "" ? v : undefined);

const signIn = createRoute({
  getParentRoute: () => root,
  path: "login",
  component: SignIn,
  validateSearch: (s: Record<string, unknown>): { next?: string; add?: boolean } => ({
    next: text(s.next),
    add: s.add === true || undefined,
  }),
});

const callback = createRoute({
  getParentRoute: () => root,
  path: "login/callback",
  component: lazyRouteComponent(() => import("./pages/SignInCallback"), "SignInCallback"),
  validateSearch: (s: Record<string, unknown>): { code?: string; state?: string; error?: string; error_description?: string } => ({
    code: text(s.code),
    state: s.state === undefined ? undefined : String(s.state),
    error: text(s.error),
    error_description: text(s.error_description),
  }),
});

const app = createRoute({
  getParentRoute: () => root,
  id: "app",
  component: Shell,
  errorComponent: ({ error, reset }) => (
    <Alone>
      <Problem error={error} retry={reset} />
    </Alone>
  ),
  beforeLoad: ({ location }) => {
    if (!currentSession()) throw redirect({ to: "/login", search: { next: location.href === "/" ? undefined : location.href } });
  },
});

const page = <P extends string>(path: P, component: ReturnType<typeof lazyRouteComponent>) =>
  createRoute({ getParentRoute: () => app, path, component });

const overview = createRoute({
  getParentRoute: () => app,
  path: "/",
  component: Overview,
  beforeLoad: () => {
    if (currentSession()?.kind === "operator") throw redirect({ to: "/admin/nodes" });
  },
});

const pods = createRoute({
  getParentRoute: () => app,
  path: "pods",
  component: Pods,
  validateSearch: (s: Record<string, unknown>): Choice & { phase?: string; labels?: string } => ({
    ...readChoice(s),
    phase: text(s.phase),
    labels: text(s.labels),
  }),
});

const newPod = createRoute({
  getParentRoute: () => app,
  path: "pods/new",
  component: lazyRouteComponent(() => import("./pages/newpod/NewPod"), "NewPod"),
  validateSearch: (s: Record<string, unknown>): { like?: string; image?: string; volume?: string } => ({
    like: text(s.like),
    image: text(s.image),
    volume: text(s.volume),
  }),
});

const pod = createRoute({
  getParentRoute: () => app,
  path: "pods/$podId",
  component: PodPage,
  validateSearch: (s: Record<string, unknown>): { tab?: Tab; container?: string } => ({
    tab: TABS.find((t) => t === s.tab),
    container: text(s.container),
  }),
});

const routeTree = root.addChildren([
  signIn,
  callback,
  app.addChildren([
    overview,
    pods,
    newPod,
    pod,
    page(
      "volumes",
      lazyRouteComponent(() => import("./pages/volumes/Volumes"), "Volumes"),
    ),
    page(
      "volumes/$volumeId",
      lazyRouteComponent(() => import("./pages/volumes/VolumePage"), "VolumePage"),
    ),
    page(
      "configs",
      lazyRouteComponent(() => import("./pages/Configs"), "Configs"),
    ),
    page(
      "images",
      lazyRouteComponent(() => import("./pages/images/Images"), "Images"),
    ),
    page(
      "images/$imageId",
      lazyRouteComponent(() => import("./pages/images/ImagePage"), "ImagePage"),
    ),
    page(
      "services",
      lazyRouteComponent(() => import("./pages/services/Services"), "Services"),
    ),
    page(
      "services/$serviceId",
      lazyRouteComponent(() => import("./pages/services/ServicePage"), "ServicePage"),
    ),
    page(
      "ingresses",
      lazyRouteComponent(() => import("./pages/ingresses/Ingresses"), "Ingresses"),
    ),
    page(
      "ingresses/$ingressId",
      lazyRouteComponent(() => import("./pages/ingresses/IngressPage"), "IngressPage"),
    ),
    page(
      "security-groups",
      lazyRouteComponent(() => import("./pages/groups/SecurityGroups"), "SecurityGroups"),
    ),
    page(
      "security-groups/$groupId",
      lazyRouteComponent(() => import("./pages/groups/SecurityGroupPage"), "SecurityGroupPage"),
    ),
    page(
      "addresses",
      lazyRouteComponent(() => import("./pages/Addresses"), "Addresses"),
    ),
    page(
      "networks",
      lazyRouteComponent(() => import("./pages/networks/Networks"), "Networks"),
    ),
    page(
      "events",
      lazyRouteComponent(() => import("./pages/Events"), "Events"),
    ),
    page(
      "operations",
      lazyRouteComponent(() => import("./pages/Operations"), "Operations"),
    ),
    page(
      "usage",
      lazyRouteComponent(() => import("./pages/Usage"), "Usage"),
    ),
    page(
      "access",
      lazyRouteComponent(() => import("./pages/access/Access"), "Access"),
    ),
    page(
      "audit",
      lazyRouteComponent(() => import("./pages/Audit"), "Audit"),
    ),
    page(
      "admin/nodes",
      lazyRouteComponent(() => import("./pages/admin/Nodes"), "Nodes"),
    ),
    page(
      "admin/nodes/$nodeId",
      lazyRouteComponent(() => import("./pages/admin/NodePage"), "NodePage"),
    ),
    page(
      "admin/tenants",
      lazyRouteComponent(() => import("./pages/admin/Tenants"), "Tenants"),
    ),
    page(
      "admin/tenants/$tenantId",
      lazyRouteComponent(() => import("./pages/admin/TenantPage"), "TenantPage"),
    ),
    page(
      "admin/platform",
      lazyRouteComponent(() => import("./pages/admin/Platform"), "Platform"),
    ),
    page(
      "admin/operations",
      lazyRouteComponent(() => import("./pages/admin/Drains"), "Drains"),
    ),
    page(
      "admin/usage",
      lazyRouteComponent(() => import("./pages/Usage"), "Usage"),
    ),
    page(
      "admin/audit",
      lazyRouteComponent(() => import("./pages/Audit"), "Audit"),
    ),
  ]),
]);

export const router = createRouter({
  routeTree,
  defaultErrorComponent: PartError,
  basepath: "/ui",
  defaultPreload: "intent",
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
