// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { ApiError, client, data, type Image, idempotent, type PodCreate, type Schemas, type Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { useHasRole } from "../../api/role";
import { useSession } from "../../api/session";
import { useConfigs } from "../../api/useConfigs";
import { dropEmpty } from "../../lib/podDocument";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Empty } from "../../ui/Empty";
import { Select } from "../../ui/Field";
import { Loading } from "../../ui/Loading";
import { Note } from "../../ui/Note";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { toast } from "../../ui/toasts";
import { DocumentEditor } from "./DocumentEditor";
import { forgetDraft, keepDraft, keptDraft } from "./draft";
import { importImages, missingImages } from "./importImages";
import styles from "./NewPod.module.css";
import { PodForm } from "./PodForm";

const DEFAULT: PodCreate = {
  name: "",
  labels: {},
  spec: { resources: { cpuMillis: 500, memoryMiB: 256 }, restartPolicy: "Always", containers: [{ name: "main", image: "" }], volumes: [] },
};

/** NewPod creates a pod with a form. Next to it, the same pod is shown as a document and as a command. */
export function NewPod() {
  const { like, image, volume } = useSearch({ from: "/app/pods/new" });
  const keys = useKeys();
  const canCreate = useHasRole("developer");
  const original = useQuery({
    queryKey: keys.pod(like),
    queryFn: () => data(client.GET("/v1/pods/{podId}", { params: { path: { podId: like ?? "" } } })),
    enabled: !!like,
  });
  if (!canCreate)
    return (
      <Empty title="Creating pods requires the developer role">
        <p>Ask an owner of the tenant for the developer role.</p>
      </Empty>
    );
  if (original.error) return <Problem error={original.error} retry={() => void original.refetch()} />;
  if (like && !original.data) return <Loading />;
  const { spec } = DEFAULT;
  const kept = original.data?.spec.volumes?.filter((v) => !v.volumeId) ?? [];
  const mounting = (c: Schemas["Container"]) => ({
    ...c,
    volumeMounts: c.volumeMounts?.filter((m) => kept.some((v) => v.name === m.volume)),
    volumeDevices: undefined,
  });
  const first: PodCreate = original.data
    ? {
        name: `${original.data.name}-2`.slice(-63),
        labels: original.data.labels,
        spec: {
          ...original.data.spec,
          volumes: kept,
          initContainers: original.data.spec.initContainers?.map(mounting),
          containers: original.data.spec.containers.map(mounting),
        },
      }
    : {
        ...DEFAULT,
        spec: {
          ...spec,
          containers: [{ name: "main", image: image ?? "", ...(volume ? { volumeMounts: [{ volume: "data", mountPath: "/data" }] } : {}) }],
          volumes: volume ? [{ name: "data", volumeId: volume }] : [],
        },
      };
  return <PodEditor first={first} dropped={original.data?.spec.volumes?.some((v) => v.volumeId) ?? false} />;
}

function PodEditor({ first, dropped }: { first: PodCreate; dropped: boolean }) {
  const session = useSession();
  const [pod, setPod] = useState(() => keptDraft(session, first) ?? first);
  useEffect(() => keepDraft(session, first, pod), [session, first, pod]);
  const [key, setKey] = useState(idempotent);
  const [busy, setBusy] = useState<string>();
  const [error, setError] = useState<unknown>();
  const [login, setLogin] = useState("");
  const images = useLive<Image>("images").items;
  const volumes = useLive<Volume>("volumes").items;
  const configs = useConfigs();
  const secrets = configs.data?.filter((c) => c.kind === "Secret") ?? [];
  const navigate = useNavigate();
  // The same pod keeps the same key, so that a retry after a lost response does not create a second pod.
  // biome-ignore lint/correctness/useExhaustiveDependencies: a changed pod needs another key
  useEffect(() => setKey(idempotent()), [pod]);
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    setError(undefined);
    try {
      await importImages(pod, images, login, setBusy);
      setBusy("Creating the pod");
      const created = await data(client.POST("/v1/pods", { params: { header: key }, body: dropEmpty(pod) as PodCreate }));
      forgetDraft();
      toast(`Pod ${created.name} was created.`);
      await navigate({ to: "/pods/$podId", params: { podId: created.id } });
    } catch (err) {
      setError(err);
      setBusy(undefined);
    }
  };
  const field = error instanceof ApiError ? error.field : undefined;
  return (
    <>
      <PageHead title="New pod" lead="The pod boots as a virtual machine of this size with its own kernel." />
      {dropped && <Note>The volumes of the original pod are left out, because a volume can be attached to only one pod at a time.</Note>}
      <div className={styles.newPod}>
        <form onSubmit={submit} aria-label="New pod">
          <PodForm
            pod={pod}
            change={setPod}
            images={images}
            volumes={volumes}
            configs={configs.data ?? []}
            wrong={field}
            message={error instanceof ApiError ? error.message : undefined}
          />
          {secrets.length > 0 && missingImages(pod, images).length > 0 && (
            <Card title="Registry">
              <Select
                label="Logins"
                value={login}
                onChange={setLogin}
                options={[
                  ["", "None: import the image without a login"],
                  ...secrets.map((s): [string, string] => [s.name, `The secret ${s.name}`]),
                ]}
                hint="The image is not imported yet. A registry that is not public needs a secret with what docker login writes, under the key config.json or .dockerconfigjson."
              />
            </Card>
          )}
          <Problem error={error} />
          <div className={styles.end}>
            <Button type="submit" look="primary" busy={!!busy}>
              {busy ? `${busy}…` : "Create pod"}
            </Button>
          </div>
        </form>
        <Card title="As text" className={styles.asText}>
          <DocumentEditor pod={pod} change={setPod} />
        </Card>
      </div>
    </>
  );
}
