// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"husk/service"
	"husk/service/address"
	"husk/store/addresses"
	"husk/store/services"
	"husk/store/topology"
)

// addressKey is the beginning of the keys of what belongs to a floating address. ofAddress finds it in the keys of rows of all tables.
func addressKey(id uuid.UUID) string { return "husk-address-" + id.String() }

func ofAddress(key string) bool { return strings.Contains(key, "husk-address-") }

// setName is the name of the set of addresses that a floating address opens. Names of sets have no hyphens.
func setName(id uuid.UUID) string { return "husk_" + strings.ReplaceAll(id.String(), "-", "") }

// openings are what floating addresses need.
type openings struct {
	owner     string
	nats      map[string]*natRow      // of the router
	balancers map[string]*balancerRow // of the router, for clients outside, and of the switches, for the tenant's own pods
	inside    map[string]*balancerRow // of the switches only
	sets      map[string]*setRow
	acls      []opening
}

// opening is what others outside reach behind a floating address.
type opening struct{ key, match string }

// planAddresses plans what the floating addresses of a tenant need. An address with all ports of a pod is translated by the router. Any other is a load balancer,
// for which clients keep their addresses as for services. From outside, the switches allow exactly the pods and ports behind the addresses.
func planAddresses(owner string, all []services.Balanced, bound []addresses.Bound) openings {
	o := openings{owner: owner, nats: map[string]*natRow{}, balancers: map[string]*balancerRow{}, inside: map[string]*balancerRow{}, sets: map[string]*setRow{}}
	byID := map[uuid.UUID]services.Balanced{}
	for _, s := range all {
		byID[s.ID] = s
	}
	for _, a := range bound {
		key := addressKey(a.ID)
		ports, backends, affinity := a.Ports, []netip.Addr{a.Pod}, 0
		switch {
		case a.ServiceID != nil:
			s := byID[*a.ServiceID]
			ports, backends, affinity = nil, nil, s.AffinitySeconds
			for _, p := range s.Ports {
				ports = append(ports, address.Port{Protocol: p.Protocol, Port: p.Port, TargetPort: p.TargetPort})
			}
			for _, e := range s.Endpoints {
				backends = append(backends, e.Address)
			}
		case !a.Pod.IsValid():
			continue
		case len(ports) == 0:
			o.nats[key] = &natRow{Type: "dnat_and_snat", ExternalIP: a.Address.String(), LogicalIP: a.Pod.String(), ExternalIDs: o.ids(key)}
			o.acls = append(o.acls, opening{key, "ip4.dst == " + a.Pod.String()})
			// The tenant's own pods do not go through the gateway: on the node of the gateway, Open vSwitch loses a connection of the pod to itself.
			key = "husk-inside-" + a.ID.String()
			o.inside[key] = &balancerRow{Name: key, VIPs: map[string]string{a.Address.String(): a.Pod.String()}, Options: map[string]string{"hairpin_snat_ip": hairpin}, ExternalIDs: o.ids(key)}
			continue
		}
		texts := make([]string, 0, len(backends))
		for _, b := range backends {
			texts = append(texts, b.String())
		}
		o.sets[key] = &setRow{Name: setName(a.ID), Addresses: texts, ExternalIDs: o.ids(key)}
		for _, protocol := range []service.Protocol{service.TCP, service.UDP} {
			o.planPorts(a, key, protocol, ports, backends, affinity)
		}
	}
	return o
}

// planPorts adds the load balancer of one protocol.
func (o *openings) planPorts(a addresses.Bound, key string, protocol service.Protocol, ports []address.Port, backends []netip.Addr, affinity int) {
	name := strings.ToLower(string(protocol))
	key += "-" + name
	row := &balancerRow{Name: key, VIPs: map[string]string{}, Protocol: &name, Options: map[string]string{"reject": "true", "hairpin_snat_ip": hairpin}, ExternalIDs: o.ids(key)}
	if affinity > 0 {
		row.Options["affinity_timeout"] = strconv.Itoa(affinity)
	}
	targets := map[int]bool{}
	for _, p := range ports {
		if p.Protocol != protocol {
			continue
		}
		at := make([]string, 0, len(backends))
		for _, b := range backends {
			at = append(at, netip.AddrPortFrom(b, uint16(p.TargetPort)).String()) //nolint:gosec // a port
		}
		row.VIPs[netip.AddrPortFrom(a.Address, uint16(p.Port)).String()] = strings.Join(at, ",") //nolint:gosec // a port
		targets[p.TargetPort] = true
	}
	if len(row.VIPs) == 0 {
		return
	}
	o.balancers[key] = row
	var numbers []string
	for _, n := range slices.Sorted(maps.Keys(targets)) {
		numbers = append(numbers, strconv.Itoa(n))
	}
	o.acls = append(o.acls, opening{key, fmt.Sprintf("ip4.dst == $%s && %s.dst == {%s}", setName(a.ID), name, strings.Join(numbers, ", "))})
}

func (o *openings) ids(key string) map[string]string { return rows{owner: o.owner}.ids(key) }

// open returns the rules that a switch needs.
func (o *openings) open(switchName string) map[string]*aclRow {
	all := map[string]*aclRow{}
	for _, a := range o.acls {
		key := switchName + "-" + a.key
		all[key] = &aclRow{Direction: "to-lport", Priority: 950, Match: a.match, Action: "pass", ExternalIDs: o.ids(key)}
	}
	return all
}

// only returns those rows that belong to floating addresses, or those that do not.
func only[M any](rows map[string]*M, addresses bool) map[string]*M {
	some := map[string]*M{}
	for key, row := range rows {
		if ofAddress(key) == addresses {
			some[key] = row
		}
	}
	return some
}

// makeSets brings the sets of addresses in line.
func makeSets(b *batch, have, want map[string]*setRow) error {
	c, err := apply(b, sets, have, want)
	if err != nil {
		return err
	}
	for _, id := range c.gone {
		if err := remove(b, &setRow{UUID: id}); err != nil {
			return err
		}
	}
	return create(b, sets, want)
}

func findSets(ctx context.Context, b *batch, owner string) (map[string]*setRow, error) {
	found, extra, err := by(ctx, b, sets, owner)
	if err != nil {
		return nil, err
	}
	return found, remove(b, extra...)
}

// makeServices brings only the services, floating addresses and security groups of a tenant in line.
func (r *Reconciler) makeServices(ctx context.Context, b *batch, t topology.Tenant) error {
	want := rows{owner: t.ID.String(), balancers: map[string]*balancerRow{}, ingress: map[string]*balancerRow{}}
	planServices(want, t.Services)
	r.cfg.planIngress(want, t.Services)
	opened := planAddresses(want.owner, t.Services, t.Addresses)
	maps.Copy(want.balancers, opened.inside)
	have, err := findBalancers(ctx, b, want.owner)
	if err != nil {
		return err
	}
	ofServices, ofIngress := split(only(have, false))
	made, err := makeBalancers(b, ofServices, want.balancers)
	if err != nil {
		return err
	}
	outer, err := makeBalancers(b, only(have, true), opened.balancers)
	if err != nil {
		return err
	}
	haveSets, err := findSets(ctx, b, want.owner)
	if err != nil {
		return err
	}
	if err := makeSets(b, haveSets, opened.sets); err != nil {
		return err
	}
	haveACLs, _, err := by(ctx, b, acls, want.owner)
	if err != nil {
		return err
	}
	ofTenant, _, err := by(ctx, b, switches, want.owner)
	if err != nil {
		return err
	}
	made.added, made.kept = append(made.added, outer.added...), append(made.kept, outer.kept...)
	for key, s := range ofTenant {
		if err := attach(b, switches, s, &s.Balancers, made, slices.Clone(s.Balancers)); err != nil {
			return err
		}
		if err := makeChildren(b, acls, s, switches, &s.ACLs, only(of(acls, haveACLs, s.ACLs), true), opened.open(key), slices.Clone(s.ACLs)); err != nil {
			return err
		}
	}
	havePorts, _, err := by(ctx, b, ports, want.owner)
	if err != nil {
		return err
	}
	at := map[uuid.UUID][]string{}
	for key, p := range havePorts {
		at[podOf(key)] = append(at[podOf(key)], p.UUID)
	}
	haveGroups, err := findGroups(ctx, b, want.owner)
	if err != nil {
		return err
	}
	if err := makeSecurityGroups(b, haveGroups, haveACLs, planGroups(want.owner, t.Groups), at); err != nil {
		return err
	}
	haveNATs, _, err := by(ctx, b, nats, want.owner)
	if err != nil {
		return err
	}
	ofTenantRouters, _, err := by(ctx, b, routers, want.owner)
	if err != nil {
		return err
	}
	if err := addIngress(b, &outer, ofIngress, want.ingress); err != nil {
		return err
	}
	for _, router := range ofTenantRouters {
		if err := attach(b, routers, router, &router.Balancers, outer, slices.Clone(router.Balancers)); err != nil {
			return err
		}
		if err := makeChildren(b, nats, router, routers, &router.NAT, only(of(nats, haveNATs, router.NAT), true), opened.nats, slices.Clone(router.NAT)); err != nil {
			return err
		}
	}
	return nil
}
