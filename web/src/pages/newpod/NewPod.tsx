import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { ApiError, client, data, type Image, idempotent, type PodCreate, type Volume } from "../../api/client";
import { useLive } from "../../api/live";
import { useMay } from "../../api/role";
import { keyOf, useSession } from "../../api/session";
import { Button } from "../../ui/Button";
import { Problem } from "../../ui/Problem";
import { Card, Empty, Loading, PageHead } from "../../ui/parts";
import { toast } from "../../ui/toasts";
import { importImages } from "./importImages";
import { PodForm } from "./PodForm";
import { Twin } from "./Twin";
import { drop } from "./twin";

const FIRST: PodCreate = {
  name: "",
  labels: {},
  spec: { resources: { cpuMillis: 500, memoryMiB: 256 }, restartPolicy: "Always", containers: [{ name: "main", image: "" }], volumes: [] },
};

/** NewPod orders a pod: a form, and beside it the same order as a document and as a command. */
export function NewPod() {
  const { like, image, volume } = useSearch({ from: "/app/pods/new" });
  const session = useSession();
  const mayOrder = useMay("developer");
  const model = useQuery({
    queryKey: [keyOf(session), "pod", like],
    queryFn: () => data(client.GET("/v1/pods/{podId}", { params: { path: { podId: like ?? "" } } })),
    enabled: !!like,
  });
  if (!mayOrder)
    return (
      <Empty title="A viewer orders nothing">
        <p>Ask an owner of the tenant for the role developer.</p>
      </Empty>
    );
  if (model.error) return <Problem error={model.error} retry={() => void model.refetch()} />;
  if (like && !model.data) return <Loading />;
  const { spec } = FIRST;
  const first: PodCreate = model.data
    ? {
        name: `${model.data.name}-2`.slice(-63),
        labels: model.data.labels,
        spec: { ...model.data.spec, volumes: [], containers: model.data.spec.containers.map((c) => ({ ...c, volumeMounts: [] })) },
      }
    : {
        ...FIRST,
        spec: {
          ...spec,
          containers: [{ name: "main", image: image ?? "", ...(volume ? { volumeMounts: [{ volume: "data", mountPath: "/data" }] } : {}) }],
          volumes: volume ? [{ name: "data", volumeId: volume }] : [],
        },
      };
  return <Order first={first} dropped={(model.data?.spec.volumes?.length ?? 0) > 0} />;
}

function Order({ first, dropped }: { first: PodCreate; dropped: boolean }) {
  const [pod, setPod] = useState(first);
  const [key, setKey] = useState(idempotent);
  const [busy, setBusy] = useState<string>();
  const [error, setError] = useState<unknown>();
  const images = useLive<Image>("images").items;
  const volumes = useLive<Volume>("volumes").items;
  const navigate = useNavigate();
  // The same key for the same order: a repetition after a lost answer does not make a second pod.
  // biome-ignore lint/correctness/useExhaustiveDependencies: another order needs another key
  useEffect(() => setKey(idempotent()), [pod]);
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    if (busy) return;
    setError(undefined);
    try {
      await importImages(pod, images, setBusy);
      setBusy("Ordering the pod");
      const made = await data(client.POST("/v1/pods", { params: { header: key }, body: drop(pod) as PodCreate }));
      toast(`Pod ${made.name} is ordered.`);
      await navigate({ to: "/pods/$podId", params: { podId: made.id } });
    } catch (err) {
      setError(err);
      setBusy(undefined);
    }
  };
  const field = error instanceof ApiError ? error.field : undefined;
  return (
    <>
      <PageHead title="Order a pod" lead="It boots as a virtual machine of exactly this size, with a kernel of its own." />
      {dropped && (
        <p className="note">The volumes of the pod that this one is like are left out: a volume is attached to one pod at a time.</p>
      )}
      <div className="order">
        <form onSubmit={submit} aria-label="Order">
          <PodForm
            pod={pod}
            change={setPod}
            images={images}
            volumes={volumes}
            wrong={field}
            message={error instanceof ApiError ? error.message : undefined}
          />
          <Problem error={error} />
          <div className="form-end">
            <Button type="submit" look="primary" busy={!!busy}>
              {busy ? `${busy}…` : "Order the pod"}
            </Button>
          </div>
        </form>
        <Card title="The same, written down" className="twin">
          <Twin pod={pod} change={setPod} />
        </Card>
      </div>
    </>
  );
}
