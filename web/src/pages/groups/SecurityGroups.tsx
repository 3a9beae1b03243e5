// SPDX-License-Identifier: Apache-2.0

import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { client, idempotent, type SecurityGroup } from "../../api/client";
import { useLive } from "../../api/live";
import { useHasRole } from "../../api/role";
import { hasExceptions, parseRules, ruleText } from "../../lib/securityRules";
import { Button } from "../../ui/Button";
import { FormDialog } from "../../ui/Dialog";
import { Area, Input, NAME, Select } from "../../ui/Field";
import { ListPage } from "../../ui/ListPage";
import type { Column } from "../../ui/tableColumns";
import { toast } from "../../ui/toasts";
import { When } from "../../ui/When";

/** SecurityGroups lists security groups: rules about the connections of pods. */
export function SecurityGroups() {
  const canChange = useHasRole("developer");
  const groups = useLive<SecurityGroup>("security-groups");
  const [creating, setCreating] = useState(false);
  const [changing, setChanging] = useState<SecurityGroup>();
  const [deleting, setDeleting] = useState<SecurityGroup>();
  const columns = useMemo(
    (): Column<SecurityGroup>[] => [
      {
        name: "Name",
        width: "minmax(110px, 1fr)",
        sort: (g) => g.name,
        cell: (g) => (
          <Link to="/security-groups/$groupId" params={{ groupId: g.id }} className="strong">
            {g.name}
          </Link>
        ),
      },
      { name: "Pods", width: "72px", sort: (g) => g.status.pods, cell: (g) => g.status.pods, numeric: true },
      { name: "Restricts", width: "112px", cell: (g) => g.restricts.join(", ") || "nothing" },
      { name: "Rules", width: "minmax(0, 2fr)", wide: true, cell: (g) => g.rules.map(ruleText).join("; ") || "none" },
      { name: "Selector", width: "minmax(0, 1fr)", wide: true, cell: (g) => g.selector },
      { name: "Age", width: "92px", wide: true, sort: (g) => -Date.parse(g.createdAt), cell: (g) => <When at={g.createdAt} /> },
      ...(canChange
        ? [
            {
              name: "Actions",
              width: "148px",
              cell: (g: SecurityGroup) => (
                <>
                  <Button small look="quiet" aria-label={`Change security group ${g.name}`} onClick={() => setChanging(g)}>
                    Change
                  </Button>
                  <Button small look="quiet" icon="trash" aria-label={`Delete security group ${g.name}`} onClick={() => setDeleting(g)} />
                </>
              ),
            },
          ]
        : []),
    ],
    [canChange],
  );
  const create = canChange && (
    <Button look="primary" onClick={() => setCreating(true)}>
      Create a group
    </Button>
  );
  return (
    <ListPage
      title="Security groups"
      one="security group"
      list={groups}
      columns={columns}
      sortedBy={["Name", false]}
      id={(g) => g.id}
      search="Name, selector or ID"
      matches={(g, q) => g.name.includes(q) || (g.selector ?? "").includes(q) || g.id === q}
      create={create}
      empty={<p>Without groups, all pods of your networks reach each other. A group says which connections its pods get and make.</p>}
    >
      {creating && <Form close={() => setCreating(false)} />}
      {changing && <Form group={changing} close={() => setChanging(undefined)} />}
      {deleting && <DeleteGroup group={deleting} close={() => setDeleting(undefined)} />}
    </ListPage>
  );
}

type Restricts = SecurityGroup["restricts"];

const RESTRICTS: Record<string, Restricts> = { in: ["ingress"], out: ["egress"], both: ["ingress", "egress"], none: [] };

const choice = (r: Restricts) => (r.length === 2 ? "both" : r.includes("ingress") ? "in" : r.includes("egress") ? "out" : "none");

/** Form creates a group, or replaces what one says. */
function Form({ group, close }: { group?: SecurityGroup; close: () => void }) {
  const [name, setName] = useState("");
  const [selector, setSelector] = useState(group?.selector ?? "");
  const [restricts, setRestricts] = useState(choice(group?.restricts ?? ["ingress"]));
  const [rules, setRules] = useState(group?.rules.map(ruleText).join("\n") ?? "");
  const [header] = useState(idempotent);
  const readOnly = group !== undefined && hasExceptions(group.rules);
  const run = async () => {
    const body = { selector, restricts: RESTRICTS[restricts], ...(!readOnly && { rules: parseRules(rules) }) };
    if (group) await client.PATCH("/v1/security-groups/{securityGroupId}", { params: { path: { securityGroupId: group.id } }, body });
    else await client.POST("/v1/security-groups", { params: { header }, body: { name, ...body } });
    toast(group ? `Security group ${group.name} is changed.` : `Security group ${name} is created.`);
  };
  return (
    <FormDialog
      title={group ? `Change security group ${group.name}` : "Create a security group"}
      submit={group ? "Save" : "Create"}
      close={close}
      run={run}
    >
      {!group && <Input label="Name" field="name" value={name} onChange={setName} pattern={NAME} maxLength={63} required autoFocus />}
      <Input
        label="Selector"
        value={selector}
        onChange={setSelector}
        maxLength={1000}
        hint="Pods with these labels are in the group, such as app=web. Others name the group themselves."
      />
      <Select
        label="Only rules allow"
        value={restricts}
        onChange={setRestricts}
        options={[
          ["in", "connections to the pods"],
          ["out", "connections that the pods begin"],
          ["both", "connections in both directions"],
          ["none", "nothing is restricted: the group is a set of pods for other rules"],
        ]}
      />
      {readOnly ? (
        <p>The rules have blocks of addresses with exceptions. Change them with husk apply.</p>
      ) : (
        <Area
          label="Rules"
          value={rules}
          onChange={setRules}
          rows={5}
          hint="One on each line: in tcp/80,443, in tcp/5432=web,198.51.100.0/24, in icmp or out any=10.0.0.0/8"
        />
      )}
    </FormDialog>
  );
}

function DeleteGroup({ group, close }: { group: SecurityGroup; close: () => void }) {
  const run = async () => {
    await client.DELETE("/v1/security-groups/{securityGroupId}", { params: { path: { securityGroupId: group.id } } });
    toast(`Security group ${group.name} is deleted.`);
  };
  return (
    <FormDialog title={`Delete security group ${group.name}?`} submit="Delete" danger close={close} run={run}>
      <p>Its rules do not apply any more. Pods without other groups then get all connections from your networks.</p>
    </FormDialog>
  );
}
