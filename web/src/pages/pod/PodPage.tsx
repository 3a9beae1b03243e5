// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useRef, useState } from "react";
import { ApiError, client, data, type Pod } from "../../api/client";
import { type Live, useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { useHasRole } from "../../api/role";
import { whyNot } from "../../lib/allowed";
import { allContainers } from "../../lib/containers";
import { podState } from "../../lib/podState";
import { Badge } from "../../ui/Badge";
import { Boundary } from "../../ui/Boundary";
import { Button, buttonLook } from "../../ui/Button";
import { Empty } from "../../ui/Empty";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Note } from "../../ui/Note";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { Lifecycle } from "./Lifecycle";
import { LogsTab } from "./LogsTab";
import { OverviewTab } from "./OverviewTab";
import { PlacementTab } from "./PlacementTab";
import { PodEvents } from "./PodEvents";
import styles from "./PodPage.module.css";
import { DeletePods } from "./Pods";
import { Resize } from "./Resize";
import { TABS, type Tab } from "./tabs";

const MetricsTab = lazy(() => import("./MetricsTab"));
const TerminalTab = lazy(() => import("./TerminalTab"));
const ConsoleTab = lazy(() => import("./ConsoleTab"));
const SpecTab = lazy(() => import("./SpecTab"));

const TITLES: Record<Tab, string> = {
  overview: "Overview",
  metrics: "Metrics",
  logs: "Logs",
  terminal: "Terminal",
  console: "Console",
  events: "Events",
  placement: "Placement",
  spec: "Spec",
};

/** PodPage loads the pod, then shows it from a watch of this one pod. */
export function PodPage() {
  const { podId } = useParams({ from: "/app/pods/$podId" });
  const keys = useKeys();
  const found = useQuery({
    queryKey: keys.pod(podId),
    queryFn: () => data(client.GET("/v1/pods/{podId}", { params: { path: { podId } } })),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (found.error instanceof ApiError && found.error.code === "not_found") return <NotFound />;
  if (found.error) return <Problem error={found.error} retry={() => void found.refetch()} />;
  if (!found.data) return <Loading what="Loading the pod" />;
  return <Found key={podId} pod={found.data} />;
}

const NotFound = ({ name }: { name?: string }) => (
  <Empty title={name ? `Pod ${name} has been deleted` : "Pod not found"} action={<Link to="/pods">All pods</Link>}>
    {name ? <p>Its volumes keep their data.</p> : <p>It may have been deleted, or it belongs to another tenant.</p>}
  </Empty>
);

function Found({ pod: first }: { pod: Pod }) {
  const live: Live<Pod> = useLive<Pod>("pods", { name: first.name });
  const pod = live.items.find((p) => p.id === first.id) ?? (live.synced ? undefined : first);
  const last = useRef(first);
  if (pod) last.current = pod;
  if (!pod) return <NotFound name={last.current.name} />;
  return <Page pod={pod} broken={live.broken} />;
}

function Page({ pod, broken }: { pod: Pod; broken?: ApiError }) {
  const { tab = "overview", container } = useSearch({ from: "/app/pods/$podId" });
  const navigate = useNavigate({ from: "/pods/$podId" });
  const canChange = useHasRole("developer");
  const [deleting, setDeleting] = useState(false);
  const [resizing, setResizing] = useState(false);
  const tabs = TABS.filter((t) => t !== "terminal" || canChange);
  const show = (t: Tab) => void navigate({ search: (s: object) => ({ ...s, tab: t }), replace: true });
  const pick = (c: string) => void navigate({ search: (s: object) => ({ ...s, container: c }), replace: true });
  const which = allContainers(pod.spec).some((c) => c.name === container) ? (container as string) : (pod.spec.containers[0]?.name ?? "");
  const onKey = (e: React.KeyboardEvent) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    if (step === 0 || !next) return;
    show(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <>
      <PageHead
        title={
          <>
            {pod.name} <Badge state={podState(pod)} phase={pod.status.phase} />
          </>
        }
        lead={Object.keys(pod.labels).length > 0 && <Labels labels={pod.labels} />}
      >
        {canChange && (
          <>
            <Lifecycle pod={pod} />
            <Button
              onClick={() => setResizing(true)}
              unless={pod.deletionRequestedAt ? "The pod is being deleted." : whyNot("pod", "resize", pod.status.phase)}
            >
              Resize
            </Button>
            <Link to="/pods/new" search={{ like: pod.id }} className={buttonLook()}>
              Duplicate
            </Link>
            <Button
              icon="trash"
              look="danger"
              onClick={() => setDeleting(true)}
              unless={pod.deletionRequestedAt && "The pod is being deleted."}
            >
              Delete
            </Button>
          </>
        )}
      </PageHead>
      {broken && <Problem error={broken} title="This page is not up to date." />}
      {pod.status.message && (
        <Note bad={["Failed", "Unknown", "Running"].includes(pod.status.phase)}>
          {pod.status.reason && <strong>{pod.status.reason}: </strong>}
          {pod.status.message}
          {pod.status.phase === "Pending" && (
            <>
              {" "}
              <Link to="/pods/$podId" params={{ podId: pod.id }} search={{ tab: "placement" }}>
                Why?
              </Link>
            </>
          )}
        </Note>
      )}
      <div className={styles.tabs} role="tablist" aria-label={`Pod ${pod.name}`} onKeyDown={onKey}>
        {tabs.map((t) => (
          <button
            key={t}
            id={`tab-${t}`}
            type="button"
            role="tab"
            aria-selected={t === tab}
            aria-controls="tab-panel"
            tabIndex={t === tab ? 0 : -1}
            onClick={() => show(t)}
          >
            {TITLES[t]}
          </button>
        ))}
      </div>
      <div className={styles.panel} role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`}>
        <Boundary part={tab}>
          <Suspense fallback={<Loading />}>
            {tab === "overview" && <OverviewTab pod={pod} />}
            {tab === "metrics" && <MetricsTab pod={pod} />}
            {tab === "logs" && <LogsTab pod={pod} container={which} pick={pick} />}
            {tab === "terminal" && canChange && <TerminalTab pod={pod} container={which} pick={pick} />}
            {tab === "console" && <ConsoleTab pod={pod} />}
            {tab === "events" && <PodEvents pod={pod} />}
            {tab === "placement" && <PlacementTab pod={pod} />}
            {tab === "spec" && <SpecTab pod={pod} />}
          </Suspense>
        </Boundary>
      </div>
      {resizing && <Resize pod={pod} close={() => setResizing(false)} />}
      {deleting && <DeletePods pods={[pod]} close={() => setDeleting(false)} deleted={() => undefined} />}
    </>
  );
}
