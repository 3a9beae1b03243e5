// SPDX-License-Identifier: Apache-2.0

import { useMemo, useState } from "react";
import type { Node, PlacedPod } from "../../api/client";
import { coresOf, mebibytes, percent } from "../../lib/format";
import styles from "./Packing.module.css";
import { squarify } from "./squarify";

const WIDTH = 300;

/** share returns the larger of a pod's shares of the node's cpu and memory. */
const share = (p: PlacedPod, n: Node) =>
  Math.max(
    p.resources.cpuMillis / Math.max(1, n.schedulableCPUMillis),
    (p.resources.memoryMiB + p.vmmOverheadMiB) / Math.max(1, n.capacity.memoryMiB),
  );

/** hue returns a colour for a tenant. It is the same on every page. */
export function hue(id: string): number {
  let h = 0;
  for (const ch of id) h = (h * 31 + ch.charCodeAt(0)) >>> 0;
  return h % 12;
}

/** Packing draws a node as a rectangle and each of its pods as a box with the size of its share. It has a label for screen readers. */
export function Packing({ node, pods, height = 110 }: { node: Node; pods: PlacedPod[]; height?: number }) {
  const [at, setAt] = useState<PlacedPod>();
  const boxes = useMemo(() => {
    const taken = pods.reduce((s, p) => s + share(p, node), 0);
    return squarify(pods, (p) => share(p, node), Math.max(1, taken), WIDTH, height);
  }, [pods, node, height]);
  const free =
    1 -
    Math.max(
      node.allocated.cpuMillis / Math.max(1, node.schedulableCPUMillis),
      node.allocated.memoryMiB / Math.max(1, node.capacity.memoryMiB),
    );
  const count = pods.length === 1 ? "1 pod" : `${pods.length} pods`;
  return (
    <figure className={styles.packing}>
      <svg
        viewBox={`0 0 ${WIDTH} ${height}`}
        role="img"
        aria-label={`${node.name}: ${count}, ${percent(Math.max(0, free))} free`}
        onPointerLeave={() => setAt(undefined)}
      >
        <rect width={WIDTH} height={height} className={styles.free} />
        {boxes.map((b) => (
          <rect
            key={b.of.id}
            x={b.x + 0.75}
            y={b.y + 0.75}
            width={Math.max(0.5, b.width - 1.5)}
            height={Math.max(0.5, b.height - 1.5)}
            rx={Math.min(3, b.width / 4, b.height / 4)}
            className={`${styles.pod} ${styles[`hue${hue(b.of.tenantId)}`]} ${b.of.phase === "Running" ? "" : styles.faint}`}
            onPointerEnter={() => setAt(b.of)}
          >
            <title>{describe(b.of)}</title>
          </rect>
        ))}
      </svg>
      <figcaption className="muted small">{at ? describe(at) : `${count}, ${percent(Math.max(0, free))} free`}</figcaption>
    </figure>
  );
}

const describe = (p: PlacedPod) =>
  `${p.tenantName}/${p.name}: ${coresOf(p.resources.cpuMillis)}, ${mebibytes(p.resources.memoryMiB)}, ${p.phase}`;
