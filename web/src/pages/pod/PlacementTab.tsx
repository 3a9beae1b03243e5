import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { client, data, type Pod } from "../../api/client";
import { keyOf, useSession } from "../../api/session";
import { coresOf, mebibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Problem, sentence } from "../../ui/Problem";
import { Card, Copy, Facts, Loading, When } from "../../ui/parts";

/** PlacementTab says why the pod is where it is, or why it is nowhere. */
export function PlacementTab({ pod }: { pod: Pod }) {
  const session = useSession();
  const q = useQuery({
    queryKey: [keyOf(session), "placement", pod.id, pod.status.phase, pod.status.reason],
    queryFn: () => data(client.GET("/v1/pods/{podId}/placement", { params: { path: { podId: pod.id } } })),
    refetchInterval: pod.status.phase === "Pending" ? 3_000 : false,
  });
  if (q.error) return <Problem error={q.error} retry={() => void q.refetch()} />;
  if (!q.data) return <Loading />;
  const { outcome, message, reason, score, refusal, attempts, decidedAt, nextTryAt, nodeName } = q.data;
  return (
    <div className="cards two">
      <Card title="The decision">
        <p>
          <Badge state={outcome} /> {message && sentence(message)}
        </p>
        <Facts
          of={[
            ["Reason", reason],
            ["Node", nodeName],
            ["Decided", decidedAt && <When key="decided" at={decidedAt} />],
            ["Attempts without a place", attempts || undefined],
            ["Next try at the latest", nextTryAt && outcome !== "Placed" ? <When key="next" at={nextTryAt} /> : undefined],
          ]}
        />
        <p className="hint">
          The same from the command: <code>husk placement {pod.name}</code>
        </p>
      </Card>
      {score && (
        <Card title="How the node was chosen">
          <Facts
            of={[
              ["Nodes compared", score.nodesCompared],
              ["Opened a node that ran nothing", score.openedNode ? "yes" : "no"],
              ["Stranded room before", `${score.strandedBefore.toFixed(3)} nodes`],
              ["Stranded room after", `${score.strandedAfter.toFixed(3)} nodes`],
              ["Left free on the node", `${(score.leftFree * 100).toFixed(0)} %`],
              ["Compared value", score.total.toFixed(4)],
            ]}
          />
          <p className="hint">Less is better. Stranded is free room that pods of the usual sizes could not use.</p>
        </Card>
      )}
      {refusal && (
        <Card title="What the nodes lack">
          <Facts
            of={[
              ["Nodes", refusal.nodes],
              ["Not ready, or cordoned", refusal.notReady],
              ["Without a label that is asked for", refusal.notSelected],
              ["With a taint that is not tolerated", refusal.notTolerated],
              ["Ruled out by your other pods", refusal.crowded],
              [
                "Nearest miss lacks",
                refusal.nearestLacks && `${coresOf(refusal.nearestLacks.cpuMillis)}, ${mebibytes(refusal.nearestLacks.memoryMiB)}`,
              ],
            ]}
          />
          {refusal.neverFits && (
            <p className="note bad">No node that may take it could hold it even when empty: make it smaller, or ask for less.</p>
          )}
          {(refusal.wouldMakeRoom?.length ?? 0) > 0 && (
            <>
              <h3>Deleting these would make room</h3>
              <ul className="rows">
                {refusal.wouldMakeRoom?.map((p) => (
                  <li key={p.id}>
                    <Link to="/pods/$podId" params={{ podId: p.id }}>
                      {p.id.slice(0, 8)}
                    </Link>
                    <span>
                      {coresOf(p.resources.cpuMillis)}, {mebibytes(p.resources.memoryMiB)}
                    </span>
                    <Copy text={p.id} shown="id" label="the pod's id" />
                  </li>
                ))}
              </ul>
            </>
          )}
        </Card>
      )}
    </div>
  );
}
