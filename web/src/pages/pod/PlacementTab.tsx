// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { client, data, type Pod } from "../../api/client";
import { useKeys } from "../../api/queries";
import { coresOf, mebibytes } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { Facts } from "../../ui/Facts";
import { Hint } from "../../ui/Hint";
import { Loading } from "../../ui/Loading";
import { Note } from "../../ui/Note";
import { Problem, sentence } from "../../ui/Problem";
import { Rows } from "../../ui/Rows";
import { When } from "../../ui/When";

/** PlacementTab explains why the pod is on its node, or why it does not fit on any node. */
export function PlacementTab({ pod }: { pod: Pod }) {
  const keys = useKeys();
  const q = useQuery({
    queryKey: keys.placement(pod.id, pod.status.phase, pod.status.reason),
    queryFn: () => data(client.GET("/v1/pods/{podId}/placement", { params: { path: { podId: pod.id } } })),
    refetchInterval: pod.status.phase === "Pending" ? 3_000 : false,
  });
  if (q.error) return <Problem error={q.error} retry={() => void q.refetch()} />;
  if (!q.data) return <Loading />;
  const { outcome, message, reason, score, refusal, attempts, decidedAt, nextTryAt, nodeName } = q.data;
  return (
    <Cards two>
      <Card title="Decision">
        <p>
          <Badge state={outcome} /> {message && sentence(message)}
        </p>
        <Facts
          of={[
            ["Reason", reason],
            ["Node", nodeName],
            ["Decided", decidedAt && <When key="decided" at={decidedAt} />],
            ["Failed attempts", attempts || undefined],
            ["Next attempt at the latest", nextTryAt && outcome !== "Placed" ? <When key="next" at={nextTryAt} /> : undefined],
          ]}
        />
        <Hint>
          With the command: <code>husk placement {pod.name}</code>
        </Hint>
      </Card>
      {score && (
        <Card title="Score of the node">
          <Facts
            of={[
              ["Nodes compared", score.nodesCompared],
              ["Node had no pods", score.openedNode ? "yes" : "no"],
              ["Stranded capacity before", `${score.strandedBefore.toFixed(3)} nodes`],
              ["Stranded capacity after", `${score.strandedAfter.toFixed(3)} nodes`],
              ["Free on the node", `${(score.leftFree * 100).toFixed(0)} %`],
              ["Score", score.total.toFixed(4)],
            ]}
          />
          <Hint>Lower is better. Stranded capacity is free capacity that pods of the usual sizes cannot use.</Hint>
        </Card>
      )}
      {refusal && (refusal.nodes || refusal.neverFits || (refusal.wouldMakeRoom?.length ?? 0) > 0) && (
        <Card title="Why it does not fit">
          <Facts
            of={[
              ["Nodes", refusal.nodes],
              ["Not ready or cordoned", refusal.notReady],
              ["Not matching the node selector", refusal.notSelected],
              ["With an untolerated taint", refusal.notTolerated],
              ["Excluded by scheduling rules", refusal.crowded],
              [
                "Missing on the closest node",
                refusal.nearestLacks && `${coresOf(refusal.nearestLacks.cpuMillis)}, ${mebibytes(refusal.nearestLacks.memoryMiB)}`,
              ],
            ]}
          />
          {refusal.neverFits && <Note bad>The pod is larger than every matching node. Reduce its size.</Note>}
          {(refusal.wouldMakeRoom?.length ?? 0) > 0 && (
            <>
              <h3>Deleting these pods would free enough capacity</h3>
              <Rows>
                {refusal.wouldMakeRoom?.map((p) => (
                  <li key={p.id}>
                    <Link to="/pods/$podId" params={{ podId: p.id }}>
                      {p.id.slice(0, 8)}
                    </Link>
                    <span>
                      {coresOf(p.resources.cpuMillis)}, {mebibytes(p.resources.memoryMiB)}
                    </span>
                    <Copy text={p.id} shown="ID" label="the pod's ID" />
                  </li>
                ))}
              </Rows>
            </>
          )}
        </Card>
      )}
    </Cards>
  );
}
