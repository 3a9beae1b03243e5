// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/store/topology"
)

// existing are the rows of one owner, by their keys.
type existing struct {
	switches    map[string]*switchRow
	ports       map[string]*portRow
	acls        map[string]*aclRow
	qos         map[string]*qosRow
	routers     map[string]*routerRow
	routerPorts map[string]*routerPortRow
	routes      map[string]*routeRow
	policies    map[string]*policyRow
	nats        map[string]*natRow
	balancers   map[string]*balancerRow
	sets        map[string]*setRow
	groups      map[string]*portGroupRow
}

// find reads the rows of an owner. Switches and routers that exist twice are removed; what is attached to a row twice goes with the second one.
func find(ctx context.Context, b *batch, owner string) (e existing, err error) {
	var extra []*switchRow
	if e.switches, extra, err = by(ctx, b, switches, owner); err != nil {
		return e, err
	}
	if err := remove(b, extra...); err != nil {
		return e, err
	}
	var extras []*routerRow
	if e.routers, extras, err = by(ctx, b, routers, owner); err != nil {
		return e, err
	}
	if err := remove(b, extras...); err != nil {
		return e, err
	}
	if e.ports, _, err = by(ctx, b, ports, owner); err != nil {
		return e, err
	}
	if e.acls, _, err = by(ctx, b, acls, owner); err != nil {
		return e, err
	}
	if e.qos, _, err = by(ctx, b, qosRules, owner); err != nil {
		return e, err
	}
	if e.routerPorts, _, err = by(ctx, b, routerPorts, owner); err != nil {
		return e, err
	}
	if e.routes, _, err = by(ctx, b, routes, owner); err != nil {
		return e, err
	}
	if e.policies, _, err = by(ctx, b, policies, owner); err != nil {
		return e, err
	}
	if e.nats, _, err = by(ctx, b, nats, owner); err != nil {
		return e, err
	}
	if e.balancers, err = findBalancers(ctx, b, owner); err != nil {
		return e, err
	}
	if e.sets, err = findSets(ctx, b, owner); err != nil {
		return e, err
	}
	e.groups, err = findGroups(ctx, b, owner)
	return e, err
}

// of returns those rows to which a row refers.
func of[M any](t table[M], rows map[string]*M, referred []string) map[string]*M {
	some := map[string]*M{}
	for key, row := range rows {
		if slices.Contains(referred, *t.uuid(row)) {
			some[key] = row
		}
	}
	return some
}

// makeTenant adds the operations that bring everything of a tenant in line.
func (r *Reconciler) makeTenant(ctx context.Context, b *batch, t topology.Tenant, gateways []uuid.UUID) error {
	want := r.cfg.plan(t, gateways)
	have, err := find(ctx, b, want.owner)
	if err != nil {
		return err
	}
	if err := r.resolveGroups(ctx, b, want); err != nil {
		return err
	}
	ofServices, ofIngress := split(only(have.balancers, false))
	made, err := makeBalancers(b, ofServices, want.balancers)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	outer, err := makeBalancers(b, only(have.balancers, true), want.opened.balancers)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	if err := makeSets(b, have.sets, want.opened.sets); err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	made.added, made.kept = append(made.added, outer.added...), append(made.kept, outer.kept...)
	if err := makeSwitches(b, have, want.switches, made); err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	at := map[uuid.UUID][]string{}
	for _, s := range want.switches {
		for key, p := range s.ports {
			at[podOf(key)] = append(at[podOf(key)], p.UUID)
		}
	}
	if err := makeSecurityGroups(b, have.groups, have.acls, planGroups(want.owner, t.Groups), at); err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	if err := addIngress(b, &outer, ofIngress, want.ingress); err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	if err := makeRouters(b, have, want.routers, outer); err != nil {
		return fmt.Errorf("tenant %s: %w", t.ID, err)
	}
	return r.makeOuter(ctx, b, t.ID, have.ports, want)
}

func makeSwitches(b *batch, have existing, want map[string]*switchPlan, made children) error {
	rows := map[string]*switchRow{}
	for key, s := range want {
		rows[key] = s.row
	}
	c, err := apply(b, switches, have.switches, rows)
	if err != nil {
		return err
	}
	for key, s := range want {
		is := have.switches[key]
		if is == nil {
			is = &switchRow{}
		}
		if err := makeChildren(b, ports, s.row, switches, &s.row.Ports, of(ports, have.ports, is.Ports), s.ports, is.Ports); err != nil {
			return err
		}
		if err := makeChildren(b, acls, s.row, switches, &s.row.ACLs, of(acls, have.acls, is.ACLs), s.acls, is.ACLs); err != nil {
			return err
		}
		if err := makeChildren(b, qosRules, s.row, switches, &s.row.QoS, of(qosRules, have.qos, is.QoS), s.qos, is.QoS); err != nil {
			return err
		}
		if err := attach(b, switches, s.row, &s.row.Balancers, made, is.Balancers); err != nil {
			return err
		}
	}
	for _, id := range c.gone {
		if err := remove(b, &switchRow{UUID: id}); err != nil {
			return err
		}
	}
	return create(b, switches, rows)
}

func makeRouters(b *batch, have existing, want map[string]*routerPlan, outer children) error {
	rows := map[string]*routerRow{}
	for key, p := range want {
		rows[key] = p.row
	}
	c, err := apply(b, routers, have.routers, rows)
	if err != nil {
		return err
	}
	for key, p := range want {
		is := have.routers[key]
		if is == nil {
			is = &routerRow{}
		}
		if err := makeChildren(b, routerPorts, p.row, routers, &p.row.Ports, of(routerPorts, have.routerPorts, is.Ports), p.ports, is.Ports); err != nil {
			return err
		}
		if err := makeChildren(b, routes, p.row, routers, &p.row.Routes, of(routes, have.routes, is.Routes), p.routes, is.Routes); err != nil {
			return err
		}
		if err := makeChildren(b, policies, p.row, routers, &p.row.Policies, of(policies, have.policies, is.Policies), p.policies, is.Policies); err != nil {
			return err
		}
		if err := makeChildren(b, nats, p.row, routers, &p.row.NAT, of(nats, have.nats, is.NAT), p.nats, is.NAT); err != nil {
			return err
		}
		if err := attach(b, routers, p.row, &p.row.Balancers, outer, is.Balancers); err != nil {
			return err
		}
	}
	for _, id := range c.gone {
		if err := remove(b, &routerRow{UUID: id}); err != nil {
			return err
		}
	}
	return create(b, routers, rows)
}

// makeChildren brings the rows in line to which one column of a row refers.
func makeChildren[M, P any](b *batch, t table[M], parent *P, parents table[P], column *[]string, have, want map[string]*M, attached []string) error {
	c, err := apply(b, t, have, want)
	if err != nil {
		return err
	}
	if err := create(b, t, want); err != nil {
		return err
	}
	return attach(b, parents, parent, column, c, attached)
}

func findBalancers(ctx context.Context, b *batch, owner string) (map[string]*balancerRow, error) {
	found, extra, err := by(ctx, b, balancers, owner)
	if err != nil {
		return nil, err
	}
	return found, remove(b, extra...)
}

// makeBalancers brings load balancers in line. Switches still have to refer to them.
func makeBalancers(b *batch, have, want map[string]*balancerRow) (children, error) {
	c, err := apply(b, balancers, have, want)
	if err != nil {
		return c, err
	}
	for _, id := range c.gone { // the database also removes the references to them
		if err := remove(b, &balancerRow{UUID: id}); err != nil {
			return c, err
		}
	}
	c.gone = nil
	return c, create(b, balancers, want)
}

// movePorts brings the ports of one pod in line. One that is not wanted is on no node.
func (r *Reconciler) movePorts(ctx context.Context, b *batch, tenant, pod uuid.UUID, want []topology.Port) error {
	for position := range husk.MaxInterfaces {
		at := slices.IndexFunc(want, func(p topology.Port) bool { return p.Position == position })
		var port *topology.Port
		if at >= 0 {
			port = &want[at]
		}
		if err := r.movePort(ctx, b, tenant, husk.PortName(pod, position), port); err != nil {
			return err
		}
	}
	return nil
}

// movePort brings one port in line. A nil port is not wanted.
func (r *Reconciler) movePort(ctx context.Context, b *batch, tenant uuid.UUID, name string, port *topology.Port) error {
	is, err := one(ctx, b, ports, name)
	if err != nil || is == nil && port == nil {
		return err
	}
	have, limits := map[string]*portRow{}, map[string]*qosRow{}
	if is != nil {
		have[name] = is
	}
	for _, direction := range []string{"from-lport", "to-lport"} {
		rule, err := one(ctx, b, qosRules, name+"-"+direction)
		if err != nil {
			return err
		}
		if rule != nil {
			limits[name+"-"+direction] = rule
		}
	}
	plan := &switchPlan{ports: map[string]*portRow{}, qos: map[string]*qosRow{}}
	var network string
	if port != nil {
		r.cfg.planPort(rows{owner: tenant.String()}, plan, *port)
		network = switchName(port.Network)
	} else {
		network = "husk-" + is.ExternalIDs[idNetwork]
	}
	s, err := one(ctx, b, switches, network)
	if err != nil || s == nil {
		return err
	}
	if err := makeChildren(b, ports, s, switches, &s.Ports, have, plan.ports, slices.Clone(s.Ports)); err != nil {
		return err
	}
	if port != nil {
		if err := joinGroups(ctx, b, tenant, plan.ports[name].UUID, port.Groups); err != nil {
			return err
		}
	}
	return makeChildren(b, qosRules, s, switches, &s.QoS, limits, plan.qos, slices.Clone(s.QoS))
}

// one returns the row with a key, and nil if there is none.
func one[M any](ctx context.Context, b *batch, t table[M], key string) (*M, error) {
	probe := new(M)
	*t.ids(probe) = map[string]string{idKey: key, idOwner: nobody}
	var found []M
	if err := b.db.Where(probe).List(ctx, &found); err != nil {
		return nil, fmt.Errorf("find %s %s: %w", t.name, key, err)
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // as documented
	}
	return &found[0], nil
}
