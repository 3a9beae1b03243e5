// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, type Image, idempotent } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { useConfigs } from "../../api/useConfigs";
import { whyNot } from "../../lib/allowed";
import { bytes, duration, percent } from "../../lib/format";
import { Badge } from "../../ui/Badge";
import { Button, buttonLook } from "../../ui/Button";
import { Copy } from "../../ui/Copy";
import { FormDialog } from "../../ui/Dialog";
import { Input, Select } from "../../ui/Field";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { useNow } from "../../ui/useNow";
import { When } from "../../ui/When";
import styles from "./Images.module.css";

/** Images lists images and the progress of imports. */
export function Images() {
  const canChange = useHasRole("developer");
  const images = useLive<Image>("images");
  const [importing, setImporting] = useState(false);
  const [retrying, setRetrying] = useState<Image>();
  const [deleting, setDeleting] = useState<Image>();
  const columns = useMemo(
    (): Column<Image>[] => [
      {
        name: "Reference",
        width: "minmax(130px, 2fr)",
        sort: (i) => i.reference,
        cell: (i) => (
          <Link to="/images/$imageId" params={{ imageId: i.id }} className="mono break" title={i.reference}>
            {i.reference}
          </Link>
        ),
      },
      { name: "State", width: "minmax(150px, 1.6fr)", sort: (i) => i.state, cell: (i) => <ImportState image={i} /> },
      {
        name: "Size",
        width: "90px",
        wide: true,
        numeric: true,
        sort: (i) => i.sizeBytes ?? 0,
        cell: (i) => (i.sizeBytes ? bytes(i.sizeBytes) : ""),
      },
      {
        name: "Digest",
        width: "150px",
        wide: true,
        cell: (i) => <Copy text={i.digest} shown={i.digest.slice(7, 19)} label="the digest" />,
      },
      {
        name: "Imported",
        width: "92px",
        wide: true,
        sort: (i) => -Date.parse(i.readyAt ?? i.createdAt),
        cell: (i) => (i.readyAt ? <When at={i.readyAt} /> : ""),
      },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "128px",
              cell: (i: Image) => (
                <>
                  {!whyNot("image", "run", i.state) && (
                    <Link
                      to="/pods/new"
                      search={{ image: i.reference }}
                      className={buttonLook("plain", true)}
                      aria-label={`Run ${i.reference}`}
                    >
                      Run
                    </Link>
                  )}
                  {!whyNot("image", "retry", i.state) && (
                    <Button small aria-label={`Retry ${i.reference}`} onClick={() => setRetrying(i)}>
                      Retry
                    </Button>
                  )}
                  <Button
                    small
                    look="quiet"
                    icon="trash"
                    aria-label={`Delete image ${i.reference}`}
                    unless={whyNot("image", "delete", i.state)}
                    onClick={() => setDeleting(i)}
                  />
                </>
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const start = canChange && (
    <Button look="primary" onClick={() => setImporting(true)}>
      Import an image
    </Button>
  );
  return (
    <ListPage
      title="Images"
      one="image"
      list={images}
      columns={columns}
      sortedBy={["Reference", false]}
      id={(i) => i.id}
      search="Reference, digest or ID"
      matches={(i, q) => i.reference.toLowerCase().includes(q) || i.id === q || i.digest.includes(q)}
      create={start}
      empty={
        <p>Import an image from its registry once. It is stored on the platform, and pods on every node start from it without pulling.</p>
      }
    >
      {importing && <ImportImage close={() => setImporting(false)} />}
      {retrying && <ImportImage retry={retrying.reference} close={() => setRetrying(undefined)} />}
      {deleting && <DeleteImage image={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

/** ImportState shows the state of an image and the progress of its import. */
export function ImportState({ image }: { image: Image }) {
  const now = useNow(1_000);
  const share = image.progress && image.progress.totalBytes > 0 ? image.progress.fetchedBytes / image.progress.totalBytes : undefined;
  if (image.state !== "Importing")
    return (
      <span className="break">
        <Badge state={image.state} title={image.message} /> {image.state === "Failed" && <span className="muted">{image.message}</span>}
      </span>
    );
  return (
    <span className={styles.progress}>
      <Badge state="Importing" title={image.message} />
      <progress aria-label={`Import of ${image.reference}`} value={share} />
      <span className="muted number">
        {share !== undefined && `${percent(share)}, `}
        {duration(Math.max(0, (now - Date.parse(image.createdAt)) / 1000))}
      </span>
    </span>
  );
}

/** ImportImage is the dialog that imports an image, or imports a failed one again. */
export function ImportImage({ retry = "", close }: { retry?: string; close: () => void }) {
  const [reference, setReference] = useState(retry);
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [secret, setSecret] = useState("");
  const secrets = useConfigs().data?.filter((c) => c.kind === "Secret") ?? [];
  const [key] = useState(idempotent);
  const run = async () => {
    await client.POST("/v1/images", {
      params: { header: key },
      body: {
        reference: reference.trim(),
        ...(username ? { registryAuth: { username, password } } : secret ? { registrySecrets: [secret] } : {}),
      },
    });
    toast(`${reference} is being imported.`);
  };
  return (
    <FormDialog title={retry ? "Import the image again?" : "Import an image"} submit={retry ? "Retry" : "Import"} close={close} run={run}>
      <Input
        label="Reference"
        field="reference"
        value={reference}
        onChange={setReference}
        placeholder="registry.example.com/nginx:1.22"
        hint="A tag is resolved now. Later changes of the tag do not affect the imported image."
        required
        autoFocus
      />
      <details>
        <summary>Registry credentials</summary>
        <Input label="User name" value={username} onChange={setUsername} />
        <Input
          label="Password"
          type="password"
          value={password}
          onChange={setPassword}
          hint="Stored encrypted until the import has finished."
          autoComplete="off"
        />
        <Select
          label="Or the logins in a secret"
          value={secret}
          onChange={setSecret}
          options={[["", "None"], ...secrets.map((s): [string, string] => [s.name, s.name])]}
          hint="Its key config.json or .dockerconfigjson has what docker login writes."
        />
      </details>
    </FormDialog>
  );
}

/** DeleteImage is the dialog that deletes an image. */
export function DeleteImage({ image, close }: { image: Image; close: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/images/{imageId}", { params: { path: { imageId: image.id } } });
    toast(`${image.reference} is being deleted.`);
  };
  return (
    <FormDialog title="Delete the image?" submit="Delete" danger close={close} run={run}>
      <p>
        <code>{image.reference}</code> can be imported again. An image that a pod uses cannot be deleted.
      </p>
    </FormDialog>
  );
}
