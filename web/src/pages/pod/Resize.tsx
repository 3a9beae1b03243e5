// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, type Pod } from "../../api/client";
import { coresOf, mebibytes } from "../../lib/format";
import { FormDialog } from "../../ui/Dialog";
import { Input } from "../../ui/Field";
import { toast } from "../../ui/toasts";

/** Resize changes the cpu and the memory of a pod. */
export function Resize({ pod, close }: { pod: Pod; close: () => void }) {
  const [cores, setCores] = useState(String(pod.spec.resources.cpuMillis / 1000));
  const [memory, setMemory] = useState(String(pod.spec.resources.memoryMiB));
  const run = async () => {
    const body = { cpuMillis: Math.round(Number(cores) * 1000), memoryMiB: Number(memory) };
    await client.PATCH("/v1/pods/{podId}/resources", { params: { path: { podId: pod.id } }, body });
    toast(`Pod ${pod.name} gets ${coresOf(body.cpuMillis)} and ${mebibytes(body.memoryMiB)}.`);
  };
  return (
    <FormDialog title={`Change the size of pod ${pod.name}`} submit="Change size" close={close} run={run}>
      <p>
        {pod.status.nodeName
          ? "Nothing restarts. The request is refused if the pod's node has insufficient capacity. Less memory takes as long as the pod needs to free it."
          : "The pod has this size when it starts."}
      </p>
      <Input label="Cores" type="number" min={0.05} max={256} step={0.001} value={cores} onChange={setCores} required autoFocus />
      <Input label="Memory in MiB" type="number" min={32} max={4194304} value={memory} onChange={setMemory} required />
    </FormDialog>
  );
}
