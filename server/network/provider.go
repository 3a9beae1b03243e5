// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// makePlatform brings in line what belongs to no tenant: the switch of the provider network, and the groups of gateways. The ports of tenants on that
// switch belong to the tenants.
func (r *Reconciler) makePlatform(ctx context.Context, b *batch, gateways []uuid.UUID) error {
	plan := rows{owner: platform}
	if err := r.makeOptions(ctx, b); err != nil {
		return err
	}
	haveSwitches, _, err := by(ctx, b, switches, platform)
	if err != nil {
		return err
	}
	havePorts, _, err := by(ctx, b, ports, platform)
	if err != nil {
		return err
	}
	haveACLs, _, err := by(ctx, b, acls, platform)
	if err != nil {
		return err
	}
	wantSwitches, wantPorts := map[string]*switchRow{}, map[string]*portRow{}
	if p := r.cfg.Provider; p != nil {
		wantSwitches[providerSwitch] = &switchRow{Name: providerSwitch, ExternalIDs: plan.ids(providerSwitch)}
		key := providerSwitch + "-uplink"
		wantPorts[key] = &portRow{Name: key, Type: "localnet", Addresses: []string{"unknown"}, Options: map[string]string{"network_name": p.Name}, ExternalIDs: plan.ids(key)}
		if p.VLAN > 0 {
			wantPorts[key].Tag = &p.VLAN
		}
	}
	c, err := apply(b, switches, haveSwitches, wantSwitches)
	if err != nil {
		return err
	}
	for _, id := range c.gone {
		if err := remove(b, &switchRow{UUID: id}); err != nil {
			return err
		}
	}
	if s := wantSwitches[providerSwitch]; s != nil {
		is := haveSwitches[providerSwitch]
		if is == nil {
			is = &switchRow{}
		}
		if err := makeChildren(b, ports, s, switches, &s.Ports, of(ports, havePorts, is.Ports), wantPorts, is.Ports); err != nil {
			return err
		}
		if err := makeChildren(b, acls, s, switches, &s.ACLs, of(acls, haveACLs, is.ACLs), r.cfg.ingressACLs(plan), is.ACLs); err != nil {
			return err
		}
	}
	if err := create(b, switches, wantSwitches); err != nil {
		return err
	}
	if err := makeMeter(ctx, b, plan); err != nil {
		return err
	}
	return r.makeGroups(ctx, b, plan, gateways)
}

// makeMeter brings the meter of dropped packets in line. Each rule with it has a share of its own.
func makeMeter(ctx context.Context, b *batch, plan rows) error {
	haveMeters, strays, err := by(ctx, b, meters, platform)
	if err != nil {
		return err
	}
	if err := remove(b, strays...); err != nil {
		return err
	}
	haveBands, _, err := by(ctx, b, bands, platform)
	if err != nil {
		return err
	}
	want := map[string]*meterRow{dropMeter: {Name: dropMeter, Unit: "pktps", Fair: new(true), ExternalIDs: plan.ids(dropMeter)}}
	if _, err := apply(b, meters, haveMeters, want); err != nil {
		return err
	}
	is := haveMeters[dropMeter]
	if is == nil {
		is = &meterRow{}
	}
	limit := map[string]*bandRow{dropMeter: {Action: "drop", Rate: dropsPerSecond, Burst: dropsPerSecond, ExternalIDs: plan.ids(dropMeter)}}
	m := want[dropMeter]
	if err := makeChildren(b, bands, m, meters, &m.Bands, of(bands, haveBands, is.Bands), limit, is.Bands); err != nil {
		return err
	}
	return create(b, meters, want)
}

// dropsPerSecond is how many dropped packets a node reports of each direction of a group.
const dropsPerSecond = 5

// globalOptions are for how long a gateway may be silent until another one takes over (BFD, RFC 5880): four times half a second. OVN's default is three
// seconds.
var globalOptions = map[string]string{"bfd-min-rx": "500", "bfd-min-tx": "500", "bfd-mult": "4"}

// makeOptions brings the options of the whole database in line. It has others, which are northd's own.
func (r *Reconciler) makeOptions(ctx context.Context, b *batch) error {
	is, err := r.global(ctx)
	if err != nil {
		return err
	}
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(globalOptions)) {
		if is.Options[key] != globalOptions[key] {
			differ = append(differ, key)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return b.add(b.db.Where(is).Mutate(is, // an insertion does not replace
		model.Mutation{Field: &is.Options, Mutator: libovsdb.MutateOperationDelete, Value: differ},
		model.Mutation{Field: &is.Options, Mutator: libovsdb.MutateOperationInsert, Value: globalOptions},
	))
}

// makeGroups brings the groups of gateways in line. Each gateway has one, with those that stand in for it.
func (r *Reconciler) makeGroups(ctx context.Context, b *batch, plan rows, gateways []uuid.UUID) error {
	have, strays, err := by(ctx, b, gatewayGroups, platform)
	if err != nil {
		return err
	}
	if err := remove(b, strays...); err != nil {
		return err
	}
	haveMembers, _, err := by(ctx, b, members, platform)
	if err != nil {
		return err
	}
	want := map[string]*groupRow{}
	if r.cfg.Provider != nil {
		for _, g := range gateways {
			want[groupKey(g)] = &groupRow{Name: groupKey(g), ExternalIDs: plan.ids(groupKey(g))}
		}
	}
	c, err := apply(b, gatewayGroups, have, want)
	if err != nil {
		return err
	}
	for _, g := range gateways {
		group := want[groupKey(g)]
		if group == nil {
			continue
		}
		is := have[groupKey(g)]
		if is == nil {
			is = &groupRow{}
		}
		all := map[string]*memberRow{}
		for i, m := range standIns(g, gateways) {
			key := groupKey(g) + "-" + m.String()
			all[key] = &memberRow{Chassis: m.String(), Priority: 100 - 10*i, ExternalIDs: plan.ids(key)}
		}
		if err := makeChildren(b, members, group, gatewayGroups, &group.Members, of(members, haveMembers, is.Members), all, is.Members); err != nil {
			return err
		}
	}
	for _, id := range c.gone {
		if err := remove(b, &groupRow{UUID: id}); err != nil {
			return err
		}
	}
	return create(b, gatewayGroups, want)
}

// resolveGroups replaces the keys of groups in router ports by their UUIDs.
func (r *Reconciler) resolveGroups(ctx context.Context, b *batch, want rows) error {
	for _, router := range want.routers {
		for key, p := range router.ports {
			if p.Group == nil {
				continue
			}
			group, err := one(ctx, b, gatewayGroups, *p.Group)
			if err != nil {
				return err
			}
			if group == nil { // this transaction may create it
				p.Group = nil
				r.log.Debug("the group of gateways does not exist yet", "port", key)
				continue
			}
			id := group.UUID
			p.Group = &id
		}
	}
	return nil
}

// makeOuter brings a tenant's port on the provider network's switch in line.
func (r *Reconciler) makeOuter(ctx context.Context, b *batch, tenant uuid.UUID, have map[string]*portRow, want rows) error {
	name := outerName(tenant)
	key := name + "-provider"
	ours := map[string]*portRow{}
	if p := have[key]; p != nil {
		ours[key] = p
	}
	wanted := map[string]*portRow{}
	for _, router := range want.routers {
		if router.ports[name] != nil {
			// After a gateway has taken over, it announces the router's MAC address, so that packets from outside find it.
			options := map[string]string{"router-port": name, "nat-addresses": "router", "exclude-lb-vips-from-garp": "true"}
			wanted[key] = &portRow{
				Name: key, Type: "router", Addresses: []string{"router"}, Options: options, ExternalIDs: want.ids(key),
			}
		}
	}
	if len(ours) == 0 && len(wanted) == 0 {
		return nil
	}
	s, err := one(ctx, b, switches, providerSwitch)
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("the northbound database has no switch %s", providerSwitch)
	}
	return makeChildren(b, ports, s, switches, &s.Ports, ours, wanted, s.Ports)
}
