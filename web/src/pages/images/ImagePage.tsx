// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { client, data, type HuskEvent, type Image, type Pod } from "../../api/client";
import { useLive } from "../../api/live";
import { useKeys } from "../../api/queries";
import { useHasRole } from "../../api/role";
import { whyNot } from "../../lib/allowed";
import { allContainers } from "../../lib/containers";
import { bytes } from "../../lib/format";
import { podState } from "../../lib/podState";
import { Badge } from "../../ui/Badge";
import { Button, buttonLook } from "../../ui/Button";
import { Card } from "../../ui/Card";
import { Cards } from "../../ui/Cards";
import { Copy } from "../../ui/Copy";
import { Empty } from "../../ui/Empty";
import { EventList } from "../../ui/EventList";
import { Facts } from "../../ui/Facts";
import { Loading } from "../../ui/Loading";
import { Note } from "../../ui/Note";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { Rows } from "../../ui/Rows";
import { When } from "../../ui/When";
import { DeleteImage, ImportImage, ImportState } from "./Images";

/** ImagePage shows one image with its configuration, its events and the pods that use it. */
export function ImagePage() {
  const { imageId } = useParams({ from: "/app/images/$imageId" });
  const keys = useKeys();
  const canChange = useHasRole("developer");
  const live = useLive<Image>("images");
  const events = useLive<HuskEvent>("events", { objectId: imageId });
  const pods = useLive<Pod>("pods");
  const [retrying, setRetrying] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const image = live.items.find((i) => i.id === imageId);
  const full = useQuery({
    queryKey: keys.image(imageId, image?.state), // the list has no configuration
    queryFn: () => data(client.GET("/v1/images/{imageId}", { params: { path: { imageId } } })),
    enabled: !!image,
  });
  if (!image && !live.synced) return live.broken ? <Problem error={live.broken} /> : <Loading what="Loading the image" />;
  if (!image)
    return (
      <Empty title="Image not found" action={<Link to="/images">All images</Link>}>
        <p>It may have been deleted, or it belongs to another tenant.</p>
      </Empty>
    );
  const users = pods.items.filter((p) => allContainers(p.spec).some((c) => c.image === image.reference || c.image === image.id));
  return (
    <>
      <PageHead title={<span className="break">{image.reference}</span>} lead={<ImportState image={image} />}>
        {canChange && (
          <>
            {image.state === "Failed" && (
              <Button look="primary" onClick={() => setRetrying(true)}>
                Retry
              </Button>
            )}
            {image.state === "Ready" && (
              <Link to="/pods/new" search={{ image: image.reference }} className={buttonLook()}>
                Run
              </Link>
            )}
            <Button icon="trash" look="danger" unless={whyNot("image", "delete", image.state)} onClick={() => setDeleting(true)}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      {image.state !== "Failed" && image.message && <Note>{image.message}</Note>}
      <Cards two>
        <Card title="Details">
          <Facts
            of={[
              ["Digest", <Copy key="digest" text={image.digest} shown={`${image.digest.slice(0, 19)}…`} label="the digest" />],
              ["Size", image.sizeBytes ? bytes(image.sizeBytes) : undefined],
              ["Requested", <When key="created" at={image.createdAt} />],
              ["Imported", image.readyAt && <When key="ready" at={image.readyAt} />],
              ["ID", <Copy key="id" text={image.id} label="the ID" />],
            ]}
          />
        </Card>
        <Card title="Configuration">
          {full.error && <Problem error={full.error} />}
          {full.isPending && <Loading />}
          {full.data && <Configuration config={full.data.config ?? {}} />}
        </Card>
        <Card title="Pods">
          {pods.synced && users.length === 0 && <p className="muted">No pod uses this image.</p>}
          <Rows>
            {users.map((p) => (
              <li key={p.id}>
                <Link to="/pods/$podId" params={{ podId: p.id }}>
                  {p.name}
                </Link>
                <Badge state={podState(p)} title={p.status.message} />
              </li>
            ))}
          </Rows>
        </Card>
        <Card title="Events">{events.synced ? <EventList events={[...events.items].reverse()} bare /> : <Loading />}</Card>
      </Cards>
      {retrying && <ImportImage retry={image.reference} close={() => setRetrying(false)} />}
      {deleting && <DeleteImage image={image} close={() => setDeleting(false)} />}
    </>
  );
}

function Configuration({ config }: { config: NonNullable<Image["config"]> }) {
  const words = (of?: string[]) => of && of.length > 0 && <code className="break">{JSON.stringify(of)}</code>;
  return (
    <Facts
      of={[
        ["Entrypoint", words(config.entrypoint) || "none"],
        ["Command", words(config.cmd) || "none"],
        ["Working directory", config.workingDir],
        ["User", config.user || "root"],
        ["Stop signal", config.stopSignal],
        ["Sets privileges", config.setsPrivileges === undefined ? undefined : config.setsPrivileges ? "yes" : "no"],
        ["Environment", (config.env?.length ?? 0) > 0 && <span className="mono break lines">{config.env?.join("\n")}</span>],
      ]}
    />
  );
}
