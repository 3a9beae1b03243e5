// SPDX-License-Identifier: Apache-2.0

import type { Pod } from "../../api/client";
import { allContainers } from "../../lib/containers";
import { InlineLabel } from "../../ui/InlineLabel";

/** ContainerPicker selects one of a pod's containers if it has more than one. */
export function ContainerPicker({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  if (allContainers(pod.spec).length < 2) return null;
  return (
    <InlineLabel>
      Container{" "}
      <select value={container} onChange={(e) => pick(e.target.value)}>
        {allContainers(pod.spec).map((c) => (
          <option key={c.name}>{c.name}</option>
        ))}
      </select>
    </InlineLabel>
  );
}
