// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"husk/service/securitygroup"
	"husk/store/groups"
)

// A switch decides about a connection in three steps (tiers). First come the rules of the platform: what comes from outside, and what pods reach there.
// Then come the rules of the tenant's security groups. What neither step refuses is allowed.
const (
	platformTier = iota
	groupsTier
	lastTier
)

func groupKeyOf(id uuid.UUID) string { return "husk-group-" + id.String() }

// groupPlan is a port group with its rules.
type groupPlan struct {
	row     *portGroupRow
	acls    map[string]*aclRow
	members []uuid.UUID // pods
}

// planGroups plans the security groups of a tenant. The ports of a group's pods are a port group, of which OVN also makes sets of addresses.
func planGroups(owner string, all []groups.Planned) map[string]*groupPlan {
	plans, ids := map[string]*groupPlan{}, map[string]uuid.UUID{}
	for _, g := range all {
		ids[g.Name] = g.ID
	}
	for _, g := range all {
		key := groupKeyOf(g.ID)
		p := &groupPlan{row: &portGroupRow{Name: setName(g.ID), ExternalIDs: rows{owner: owner}.ids(key)}, acls: map[string]*aclRow{}, members: g.Members}
		plans[key] = p
		add := func(name string, d securitygroup.Direction, priority int, match, action string) *aclRow {
			row := &aclRow{Direction: "to-lport", Priority: priority, Tier: groupsTier, Action: action, ExternalIDs: rows{owner: owner}.ids(key + "-" + name)}
			row.Match = fmt.Sprintf("outport == @%s && %s", p.row.Name, match)
			if d == securitygroup.Egress { // the load balancer of the switch has replaced the address of a service
				row.Direction, row.Options = "from-lport", map[string]string{"apply-after-lb": "true"}
				row.Match = fmt.Sprintf("inport == @%s && %s", p.row.Name, match)
			}
			p.acls[key+"-"+name] = row
			return row
		}
		for _, d := range g.Restricts {
			// A pod's connection to its own service, and its queries for names, need no rule.
			free := "ip4.src == " + hairpin
			if d == securitygroup.Egress {
				free = "ip4.dst == {" + hairpin + ", " + namesAddress + "}"
			}
			add(string(d)+"-free", d, 3000, free, "allow-related")
			drop := add(string(d)+"-drop", d, 1000, "ip", "drop")
			name, severity, meter := dropName(g.ID, d), "info", dropMeter
			drop.Log, drop.Name, drop.Severity, drop.Meter = true, &name, &severity, &meter
		}
		for _, r := range g.Rules {
			add("rule-"+strconv.FormatInt(r.Number, 10), r.Direction, 2000, matchOf(r, ids), "allow-related").Label = int(r.Number)
		}
	}
	return plans
}

// dropName is the name of the rule that drops what no rule of a group allows. Agents count and report what it drops (nodeagent/network).
func dropName(group uuid.UUID, d securitygroup.Direction) string {
	return "husk-" + string(d) + "-" + group.String()
}

// dropMeter is the name of the meter that limits how many drops are reported.
const dropMeter = "husk-drops"

// matchOf returns what a rule allows, as OVN's expression.
func matchOf(r securitygroup.Rule, ids map[string]uuid.UUID) string {
	var match string
	switch r.Protocol {
	case securitygroup.TCP, securitygroup.UDP:
		match = portsOf(strings.ToLower(string(r.Protocol)), r.Ports)
	case securitygroup.ICMP:
		match = "(icmp4 || icmp6)"
	case securitygroup.Any:
		match = "ip"
	}
	if len(r.Peers) == 0 {
		return match
	}
	side := "src"
	if r.Direction == securitygroup.Egress {
		side = "dst"
	}
	var peers []string
	for _, p := range r.Peers {
		if p.Group != "" {
			if id, known := ids[p.Group]; known {
				peers = append(peers, fmt.Sprintf("ip4.%[1]s == $%[2]s_ip4 || ip6.%[1]s == $%[2]s_ip6", side, setName(id)))
			}
			continue
		}
		for _, block := range p.Blocks() { // OVN's own negation multiplies the exceptions
			family := "ip6"
			if block.Addr().Is4() {
				family = "ip4"
			}
			peers = append(peers, fmt.Sprintf("%s.%s == %s", family, side, block))
		}
	}
	if len(peers) == 0 {
		return "0"
	}
	return match + " && (" + strings.Join(peers, " || ") + ")"
}

func portsOf(protocol string, ports []securitygroup.Port) string {
	if len(ports) == 0 {
		return protocol
	}
	var any []string
	for _, p := range ports {
		if p.EndPort == 0 || p.EndPort == p.Port {
			any = append(any, fmt.Sprintf("%s.dst == %d", protocol, p.Port))
		} else {
			any = append(any, fmt.Sprintf("%d <= %s.dst <= %d", p.Port, protocol, p.EndPort))
		}
	}
	return "(" + strings.Join(any, " || ") + ")"
}

func findGroups(ctx context.Context, b *batch, owner string) (map[string]*portGroupRow, error) {
	found, extra, err := by(ctx, b, portGroups, owner)
	if err != nil {
		return nil, err
	}
	return found, remove(b, extra...)
}

// podOf returns the pod to which a port with this key belongs.
func podOf(key string) uuid.UUID {
	const size = 36
	if len(key) < size {
		return uuid.Nil
	}
	id, err := uuid.Parse(key[:size])
	if err != nil {
		return uuid.Nil
	}
	return id
}

// makeSecurityGroups brings security groups in line. at has the UUIDs of the ports of pods.
func makeSecurityGroups(b *batch, have map[string]*portGroupRow, haveACLs map[string]*aclRow, want map[string]*groupPlan, at map[uuid.UUID][]string) error {
	rows := map[string]*portGroupRow{}
	for key, p := range want {
		rows[key] = p.row
	}
	c, err := apply(b, portGroups, have, rows)
	if err != nil {
		return err
	}
	for key, p := range want {
		is := have[key]
		if is == nil {
			is = &portGroupRow{}
		}
		if err := makeChildren(b, acls, p.row, portGroups, &p.row.ACLs, of(acls, haveACLs, is.ACLs), p.acls, is.ACLs); err != nil {
			return err
		}
		var members []string
		for _, pod := range p.members {
			members = append(members, at[pod]...)
		}
		gone := slices.DeleteFunc(slices.Clone(is.Ports), func(id string) bool { return slices.Contains(members, id) })
		if err := attach(b, portGroups, p.row, &p.row.Ports, children{added: members, gone: gone}, is.Ports); err != nil {
			return err
		}
	}
	for _, id := range c.gone {
		if err := remove(b, &portGroupRow{UUID: id}); err != nil {
			return err
		}
	}
	return create(b, portGroups, rows)
}

// joinGroups brings in line of which groups a port is a member. An empty UUID means that it does not exist any more: then no group has it.
func joinGroups(ctx context.Context, b *batch, tenant uuid.UUID, port string, wanted []uuid.UUID) error {
	all, err := findGroups(ctx, b, tenant.String())
	if err != nil || port == "" {
		return err
	}
	for _, g := range all {
		wants := slices.ContainsFunc(wanted, func(id uuid.UUID) bool { return groupKeyOf(id) == g.ExternalIDs[idKey] })
		c := children{gone: []string{port}}
		if wants {
			c = children{added: []string{port}}
		}
		if err := attach(b, portGroups, g, &g.Ports, c, slices.Clone(g.Ports)); err != nil {
			return err
		}
	}
	return nil
}
