// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { client, data, idempotent, type Schemas } from "../api/client";
import { useKeys } from "../api/queries";
import { useHasRole } from "../api/role";
import { useConfigs } from "../api/useConfigs";
import { plural } from "../lib/format";
import { Button } from "../ui/Button";
import { Dialog, FormDialog } from "../ui/Dialog";
import { DialogActions } from "../ui/DialogActions";
import { Facts } from "../ui/Facts";
import { Area, Input, NAME, Select } from "../ui/Field";
import { ListPage } from "../ui/ListPage";
import { Problem } from "../ui/Problem";
import type { Column } from "../ui/tableColumns";
import { toast } from "../ui/toasts";
import { When } from "../ui/When";

type Config = Schemas["Config"];

/** Configs lists configs and secrets: named values that pods read as variables and files. */
export function Configs() {
  const canChange = useHasRole("developer");
  const configs = useConfigs();
  const [creating, setCreating] = useState(false);
  const [changing, setChanging] = useState<Config>();
  const [deleting, setDeleting] = useState<Config>();
  const columns = useMemo(
    (): Column<Config>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1.2fr)",
        sort: (c) => c.name,
        cell: (c) => (
          <button type="button" className="strong" aria-label={`${canChange ? "Change" : "Show"} ${c.name}`} onClick={() => setChanging(c)}>
            {c.name}
          </button>
        ),
      },
      { name: "Kind", width: "80px", sort: (c) => c.kind, cell: (c) => c.kind },
      { name: "Keys", width: "minmax(0, 2fr)", cell: (c) => c.keys.map((k) => k.name).join(", "), wide: true },
      { name: "Version", width: "80px", sort: (c) => c.version, cell: (c) => c.version, numeric: true, wide: true },
      { name: "Changed", width: "100px", sort: (c) => -Date.parse(c.updatedAt), cell: (c) => <When at={c.updatedAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "72px",
              cell: (c: Config) => (
                <Button
                  small
                  look="quiet"
                  icon="trash"
                  aria-label={`Delete ${c.kind.toLowerCase()} ${c.name}`}
                  onClick={() => setDeleting(c)}
                />
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const create = canChange && (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create a config or a secret
    </Button>
  );
  return (
    <ListPage
      title="Configs"
      one="object"
      list={{ items: configs.data ?? [], synced: configs.isSuccess, broken: configs.error ?? undefined }}
      columns={columns}
      sortedBy={["Name", false]}
      id={(c) => c.id}
      search="Name, key or ID"
      matches={(c, q) => c.name.includes(q) || c.id === q || c.keys.some((k) => k.name.toLowerCase().includes(q))}
      create={create}
      empty={<p>Pods read the values of a config or a secret as variables and files. The values of a secret cannot be read back.</p>}
    >
      {creating && <CreateConfig close={() => setCreating(false)} />}
      {changing && canChange && <ChangeConfig config={changing} close={() => setChanging(undefined)} />}
      {changing && !canChange && <ShowConfig config={changing} close={() => setChanging(undefined)} />}
      {deleting && <DeleteConfig config={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

function useRefresh() {
  const keys = useKeys();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: keys.configs });
}

const KEY = String.raw`[\-._a-zA-Z0-9]+`;

function CreateConfig({ close }: { close: () => void }) {
  const [kind, setKind] = useState<Config["kind"]>("Config");
  const [name, setName] = useState("");
  const [key, setKey] = useState("");
  const [value, setValue] = useState("");
  const [header] = useState(idempotent);
  const refresh = useRefresh();
  const run = async () => {
    await client.POST("/v1/configs", { params: { header }, body: { kind, name, values: key ? { [key]: value } : {} } });
    await refresh();
    toast(`${kind} ${name} is created.`);
  };
  return (
    <FormDialog title="Create a config or a secret" submit="Create" close={close} run={run}>
      <Select
        label="Kind"
        value={kind}
        onChange={(k) => setKind(k === "Secret" ? "Secret" : "Config")}
        options={[
          ["Config", "Config: everybody in the tenant can read its values"],
          ["Secret", "Secret: its values cannot be read back"],
        ]}
      />
      <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required />
      <Input label="Key" value={key} onChange={setKey} pattern={KEY} maxLength={253} hint="More keys can be added afterwards." />
      <Area label="Value" value={value} onChange={setValue} />
    </FormDialog>
  );
}

/** useConfig reads a config with its values, or a secret without them. */
function useConfig(config: Config) {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.config(config.id),
    queryFn: () => data(client.GET("/v1/configs/{configId}", { params: { path: { configId: config.id } } })),
  });
}

/** ShowConfig is for viewers. */
function ShowConfig({ config, close }: { config: Config; close: () => void }) {
  const current = useConfig(config);
  return (
    <Dialog title={`${config.kind} ${config.name}`} close={close} wide>
      {current.error && <Problem error={current.error} />}
      {config.keys.map((k) => (
        <Facts key={k.name} of={[[k.name, <pre key="value">{current.data?.values?.[k.name] ?? `${plural(k.bytes, "byte")}`}</pre>]]} />
      ))}
      <DialogActions>
        <Button onClick={close}>Close</Button>
      </DialogActions>
    </Dialog>
  );
}

function ChangeConfig({ config, close }: { config: Config; close: () => void }) {
  const current = useConfig(config);
  const [key, setKey] = useState(config.keys[0]?.name ?? "");
  const [value, setValue] = useState<string>();
  const refresh = useRefresh();
  const secret = config.kind === "Secret";
  const known = current.data?.values?.[key];
  const binary = !!current.data?.binaryValues && key in current.data.binaryValues;
  const exists = config.keys.some((k) => k.name === key);
  const save = async (to: string | null) => {
    await client.PATCH("/v1/configs/{configId}", { params: { path: { configId: config.id } }, body: { values: { [key]: to } } });
    await refresh();
    toast(`${config.kind} ${config.name} is changed. Running pods get the new value.`);
  };
  return (
    <FormDialog
      title={`${config.kind} ${config.name}`}
      submit={value === undefined && exists ? "Remove this key" : "Save"}
      danger={value === undefined && exists}
      close={close}
      run={() => save(value === undefined && exists ? null : (value ?? ""))}
    >
      <Input
        label="Key"
        value={key}
        onChange={(k) => {
          setKey(k);
          setValue(undefined);
        }}
        pattern={KEY}
        maxLength={253}
        list="config-keys"
        required
        hint={`Keys: ${config.keys.map((k) => k.name).join(", ") || "none yet"}`}
      />
      <datalist id="config-keys">
        {config.keys.map((k) => (
          <option key={k.name} value={k.name} />
        ))}
      </datalist>
      {current.error && <Problem error={current.error} />}
      <Area
        label="Value"
        rows={8}
        value={value ?? known ?? ""}
        onChange={setValue}
        hint={
          binary
            ? "The value is not text. What you type replaces it."
            : secret && exists
              ? "The value cannot be read back. What you type replaces it."
              : undefined
        }
      />
    </FormDialog>
  );
}

function DeleteConfig({ config, close }: { config: Config; close: () => void }) {
  const refresh = useRefresh();
  const run = async () => {
    await client.DELETE("/v1/configs/{configId}", { params: { path: { configId: config.id } } });
    await refresh();
    toast(`${config.kind} ${config.name} is deleted.`);
  };
  return (
    <FormDialog title={`Delete ${config.kind.toLowerCase()} ${config.name}?`} submit="Delete" danger close={close} run={run}>
      <p>An object that a pod uses cannot be deleted.</p>
    </FormDialog>
  );
}
