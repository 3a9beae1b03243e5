// SPDX-License-Identifier: Apache-2.0

import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, type Pod } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { allContainers, readiness } from "../../lib/containers";
import { coresOf, count, mebibytes, plural } from "../../lib/format";
import { phaseOf, podState, restartsOf } from "../../lib/podState";
import { Badge } from "../../ui/Badge";
import { Button, buttonLook } from "../../ui/Button";
import { Chip } from "../../ui/Chip";
import { FormDialog } from "../../ui/Dialog";
import { Labels } from "../../ui/Labels";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";

const PHASES = ["Pending", "Starting", "Running", "Succeeded", "Failed", "Unknown", "Stopping", "Stopped"];

/** Pods shows a live list of the tenant's pods. */
export function Pods() {
  const canChange = useHasRole("developer");
  const pods = useLive<Pod>("pods");
  const search = useSearch({ from: "/app/pods" });
  const navigate = useNavigate({ from: "/pods" });
  const [selected, setSelected] = useState(new Set<string>());
  const [deleting, setDeleting] = useState<Pod[]>();
  const wanted = useMemo(() => (search.labels ? search.labels.split(",") : []), [search.labels]);
  const narrow = (to: Partial<typeof search>) => void navigate({ search: (s: typeof search) => ({ ...s, ...to }), replace: true });
  const withLabel = (label: string) => narrow({ labels: [...new Set([...wanted, label])].join(",") });

  const keep = useMemo(() => {
    if (!search.phase && wanted.length === 0) return undefined;
    return (p: Pod) =>
      (!search.phase || phaseOf(p) === search.phase) &&
      wanted.every((w) => {
        const at = w.indexOf("=");
        return p.labels[w.slice(0, at)] === w.slice(at + 1);
      });
  }, [search.phase, wanted]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: withLabel only depends on wanted
  const columns = useMemo(
    (): Column<Pod>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1.2fr)",
        sort: (p) => p.name,
        cell: (p) => (
          <Link to="/pods/$podId" params={{ podId: p.id }} className="strong">
            {p.name}
          </Link>
        ),
      },
      {
        name: "State",
        width: "156px",
        sort: (p) => PHASES.indexOf(phaseOf(p)),
        cell: (p) => <Badge state={podState(p)} phase={phaseOf(p)} title={p.status.message} />,
      },
      { name: "Restarts", width: "76px", wide: true, sort: restartsOf, cell: (p) => count(restartsOf(p)) },
      {
        name: "Ready",
        width: "72px",
        wide: true,
        sort: (p) => readiness(p).ready - readiness(p).all,
        cell: (p) => `${readiness(p).ready}/${readiness(p).all}`,
      },
      {
        name: "Size",
        width: "150px",
        wide: true,
        sort: (p) => p.spec.resources.memoryMiB,
        cell: (p) => `${coresOf(p.spec.resources.cpuMillis)}, ${mebibytes(p.spec.resources.memoryMiB)}`,
      },
      {
        name: "Address",
        width: "120px",
        sort: (p) => p.status.address ?? "",
        cell: (p) => <span className="mono">{p.status.address}</span>,
      },
      {
        name: "Labels",
        width: "minmax(0, 2.2fr)",
        wide: true,
        cell: (p) => <Labels labels={p.labels} pick={(n, v) => withLabel(`${n}=${v}`)} />,
      },
      { name: "Age", width: "92px", wide: true, sort: (p) => -Date.parse(p.createdAt), cell: (p) => <When at={p.createdAt} /> },
    ],
    [wanted],
  );
  return (
    <ListPage
      title="Pods"
      one="pod"
      list={pods}
      columns={columns}
      sortedBy={["Age", false]}
      id={(p) => p.id}
      nameOf={(p) => p.name}
      search="Name, image, address or ID"
      matches={(p, q) =>
        p.name.includes(q) || p.id === q || p.status.address === q || allContainers(p.spec).some((c) => c.image.toLowerCase().includes(q))
      }
      keep={keep}
      filters={(chosen) => (
        <>
          <select aria-label="Filter by state" value={search.phase ?? ""} onChange={(e) => narrow({ phase: e.target.value || undefined })}>
            <option value="">Any state</option>
            {PHASES.map((p) => (
              <option key={p}>{p}</option>
            ))}
          </select>
          {wanted.map((w) => (
            <Chip
              key={w}
              on
              label={`Remove the filter ${w}`}
              pick={() => narrow({ labels: wanted.filter((o) => o !== w).join(",") || undefined })}
            >
              {w} <span aria-hidden="true">×</span>
            </Chip>
          ))}
          {canChange && chosen.length > 0 && (
            <Button look="danger" small icon="trash" onClick={() => setDeleting(chosen)}>
              Delete {plural(chosen.length, "pod")}
            </Button>
          )}
        </>
      )}
      create={
        canChange && (
          <Link to="/pods/new" className={buttonLook("primary")}>
            Create pod
          </Link>
        )
      }
      selected={canChange ? selected : undefined}
      select={canChange ? setSelected : undefined}
      empty={
        <>
          <p>A pod is one or more containers in a virtual machine of the size that you choose. To create a pod with the command:</p>
          <pre>
            <code>husk run -d --name web -m 256m IMAGE</code>
          </pre>
        </>
      }
    >
      {deleting && <DeletePods pods={deleting} close={() => setDeleting(undefined)} deleted={() => setSelected(new Set())} />}
    </ListPage>
  );
}

const AT_ONCE = 6;

/** DeletePods asks for confirmation, then deletes pods. It shows the first failure. */
export function DeletePods({ pods, close, deleted }: { pods: Pod[]; close: () => void; deleted: () => void }) {
  const [done, setDone] = useState(0);
  const run = async () => {
    const left = [...pods];
    const failures: unknown[] = [];
    const worker = async () => {
      for (let p = left.shift(); p; p = left.shift()) {
        try {
          await client.DELETE("/v1/pods/{podId}", { params: { path: { podId: p.id } } });
        } catch (err) {
          failures.push(err);
        }
        setDone((n) => n + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (failures.length > 0) throw failures[0];
    toast(`${pods.length === 1 ? `Pod ${pods[0]?.name} is` : `${plural(pods.length, "pod")} are`} being deleted.`);
    deleted();
  };
  return (
    <FormDialog
      title={pods.length === 1 ? `Delete pod ${pods[0]?.name}?` : `Delete ${plural(pods.length, "pod")}?`}
      submit="Delete"
      danger
      close={close}
      run={run}
    >
      <p>The containers are stopped with their grace period, and the virtual machines are removed. Volumes keep their data.</p>
      {pods.length > 1 && (
        <p className="muted">
          {pods
            .slice(0, 6)
            .map((p) => p.name)
            .join(", ")}
          {pods.length > 6 && ` and ${pods.length - 6} more`}
        </p>
      )}
      {done > 0 && pods.length > 1 && (
        <output>
          {done} of {pods.length}
        </output>
      )}
    </FormDialog>
  );
}
