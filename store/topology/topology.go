// SPDX-License-Identifier: Apache-2.0

// Package topology reads which networks there are, and which pods are connected to them on which nodes, and what has changed about that.
package topology

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/addresses"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/groups"
	"husk/store/ingresses"
	"husk/store/services"
)

// Tenant is a tenant's networks.
type Tenant struct {
	ID       uuid.UUID
	Networks []Network // none: the tenant is gone
	Services []services.Balanced
	// Addresses are the floating addresses with a target.
	Addresses []addresses.Bound
	Groups    []groups.Planned
}

// Network is a network with its ports.
type Network struct {
	ID   uuid.UUID
	CIDR netip.Prefix
	IPv6 netip.Prefix // invalid: none
	// Isolated networks have no router.
	Isolated bool
	Outer    netip.Addr // by which the provider network knows it; invalid if it has none
	Ports    []Port
}

// Port connects a pod to a network.
type Port struct {
	PodID    uuid.UUID
	Position int // among the interfaces of the pod
	Network  uuid.UUID
	Address  netip.Addr
	Address6 netip.Addr // invalid: none
	MAC      string
	Nodes    []uuid.UUID // on which it is; two if it moves, the one that it leaves first
	Groups   []uuid.UUID // only in the result of Ports: its security groups
}

// Change says that something about a tenant's networks has changed.
type Change struct {
	ID     int64
	Tenant uuid.UUID
	// Pod: only the port of this pod. Services: only the services and floating addresses. If neither is set, it can be anything.
	Pod      *uuid.UUID
	Services bool
}

// Store reads and writes in transactions of package store.
type Store struct {
	Do func(ctx context.Context, f func(q *db.Queries) error) error
}

// Changes returns the oldest changes.
func (s Store) Changes(ctx context.Context, limit int) (changes []Change, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		rows, err := q.NetworkChanges(ctx, limit)
		changes = convert.All(rows, func(r db.NetworkChange) Change { return Change{r.ID, r.TenantID, r.PodID, r.Services} })
		return err
	})
	return changes, err
}

// Drop deletes changes that have been made.
func (s Store) Drop(ctx context.Context, changes []Change) error {
	return s.Do(ctx, func(q *db.Queries) error {
		return q.DropNetworkChanges(ctx, convert.All(changes, func(c Change) int64 { return c.ID }))
	})
}

// TenantIDs returns the next tenants that have networks, in the order of their ids.
func (s Store) TenantIDs(ctx context.Context, after uuid.UUID, limit int) (ids []uuid.UUID, err error) {
	err = s.Do(ctx, func(q *db.Queries) (err error) {
		ids, err = q.TenantsWithNetworks(ctx, db.TenantsWithNetworksParams{After: after, Max: limit})
		return err
	})
	return ids, err
}

// Tenants returns the networks of tenants.
func (s Store) Tenants(ctx context.Context, ids []uuid.UUID) (tenants []Tenant, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		if err := q.ReadOneSnapshot(ctx); err != nil {
			return err
		}
		networks, err := q.NetworksOf(ctx, ids)
		if err != nil {
			return err
		}
		rows, err := q.PortsOf(ctx, db.PortsOfParams{Tenants: ids})
		if err != nil {
			return err
		}
		parts, err := readParts(ctx, q, ids)
		if err != nil {
			return err
		}
		ports := map[uuid.UUID][]Port{}
		for _, p := range portsOf(rows) {
			ports[p.Network] = append(ports[p.Network], p)
		}
		byTenant := map[uuid.UUID][]Network{}
		for _, n := range networks {
			network := Network{ID: n.ID, CIDR: n.Cidr, Isolated: n.Isolated, Ports: ports[n.ID]}
			if n.Ipv6Cidr != nil {
				network.IPv6 = *n.Ipv6Cidr
			}
			if n.OuterAddress != nil {
				network.Outer = *n.OuterAddress
			}
			byTenant[n.TenantID] = append(byTenant[n.TenantID], network)
		}
		tenants = convert.All(ids, func(id uuid.UUID) Tenant {
			t := parts[id]
			t.Networks = byTenant[id]
			return t
		})
		return nil
	})
	return tenants, err
}

// Services returns tenants with their services, floating addresses and security groups, and without their networks.
func (s Store) Services(ctx context.Context, ids []uuid.UUID) (tenants []Tenant, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		if err := q.ReadOneSnapshot(ctx); err != nil {
			return err
		}
		parts, err := readParts(ctx, q, ids)
		tenants = convert.All(ids, func(id uuid.UUID) Tenant { return parts[id] })
		return err
	})
	return tenants, err
}

func readParts(ctx context.Context, q *db.Queries, ids []uuid.UUID) (map[uuid.UUID]Tenant, error) {
	parts := map[uuid.UUID]Tenant{}
	for _, id := range ids {
		parts[id] = Tenant{ID: id}
	}
	change := func(id uuid.UUID, f func(t *Tenant)) {
		t := parts[id]
		f(&t)
		parts[id] = t
	}
	balanced, err := services.All(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	if err := ingresses.Address(ctx, q, ids, balanced); err != nil {
		return nil, err
	}
	for _, s := range balanced {
		change(s.TenantID, func(t *Tenant) { t.Services = append(t.Services, s) })
	}
	bound, err := addresses.All(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	for _, a := range bound {
		change(a.TenantID, func(t *Tenant) { t.Addresses = append(t.Addresses, a) })
	}
	planned, err := groups.All(ctx, q, ids)
	for id, all := range planned {
		change(id, func(t *Tenant) { t.Groups = all })
	}
	return parts, err
}

// Ports returns the ports of pods. A pod that is on no node has none.
func (s Store) Ports(ctx context.Context, tenants, pods []uuid.UUID) (ports []Port, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		rows, err := q.PortsOf(ctx, db.PortsOfParams{Tenants: tenants, Pods: pods})
		if err != nil {
			return err
		}
		ports = portsOf(rows)
		planned, err := groups.All(ctx, q, tenants)
		for _, all := range planned {
			for _, g := range all {
				for i := range ports {
					if slices.Contains(g.Members, ports[i].PodID) {
						ports[i].Groups = append(ports[i].Groups, g.ID)
					}
				}
			}
		}
		return err
	})
	return ports, err
}

func portsOf(rows []db.PortsOfRow) []Port {
	var ports []Port
	for _, r := range rows {
		for i, face := range convert.Interfaces(db.Pod{NetworkID: r.NetworkID, Address: r.Address, Mac: r.Mac, Interfaces: r.Interfaces}) {
			p := Port{PodID: r.PodID, Position: i, Network: face.NetworkID, Address: face.Address.Addr(), Address6: face.Address6.Addr(), MAC: face.MAC, Nodes: []uuid.UUID{r.NodeID}}
			at := slices.IndexFunc(ports[max(0, len(ports)-husk.MaxInterfaces):], func(o Port) bool { return o.PodID == p.PodID && o.Position == i })
			if at < 0 {
				ports = append(ports, p)
				continue
			}
			known := &ports[max(0, len(ports)-husk.MaxInterfaces)+at] // the pod is on two nodes
			if !slices.Contains(known.Nodes, r.NodeID) {
				known.Nodes = append(known.Nodes, r.NodeID)
			}
		}
	}
	return ports
}

// Incarnation names the database.
func (s Store) Incarnation(ctx context.Context) (i husk.Incarnation, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		text, err := q.Incarnation(ctx)
		i = husk.Incarnation(text)
		return err
	})
	return i, err
}

// Gateways returns the nodes that connect networks with the provider network.
func (s Store) Gateways(ctx context.Context) (ids []uuid.UUID, err error) {
	err = s.Do(ctx, func(q *db.Queries) (err error) {
		ids, err = q.Gateways(ctx)
		return err
	})
	return ids, err
}

// ClearOuter takes back addresses of the provider network that are not from first to last, because that range has changed.
func (s Store) ClearOuter(ctx context.Context, first, last netip.Addr) error {
	return s.Do(ctx, func(q *db.Queries) error {
		return q.ClearOuterAddresses(ctx, db.ClearOuterAddressesParams{First: first, Last: last})
	})
}

// AssignOuter gives networks with pods addresses of the provider network, from first to last. It returns how many networks got one, and whether
// there are too few addresses.
func (s Store) AssignOuter(ctx context.Context, first, last netip.Addr, limit int) (assigned int, exhausted bool, err error) {
	err = s.Do(ctx, func(q *db.Queries) error {
		assigned, exhausted = 0, false
		networks, err := q.NetworksWithoutOuterAddress(ctx, limit)
		if err != nil {
			return err
		}
		for _, n := range networks {
			address, err := q.FreeOuterAddress(ctx, db.FreeOuterAddressParams{First: first, Last: last})
			if errors.Is(err, pgx.ErrNoRows) {
				exhausted = true
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := q.SetOuterAddress(ctx, db.SetOuterAddressParams{TenantID: n.TenantID, ID: n.ID, OuterAddress: address}); err != nil {
				return err
			}
			assigned++
		}
		return nil
	})
	return assigned, exhausted, err
}

// ClearIngress takes back addresses of services that are not from first to last, because the ingress range has changed.
func (s Store) ClearIngress(ctx context.Context, first, last netip.Addr) error {
	return s.Do(ctx, func(q *db.Queries) error {
		return q.ClearIngressAddresses(ctx, db.ClearIngressAddressesParams{First: first, Last: last})
	})
}

// AssignIngress gives services that ingresses name addresses from first to last. It returns whether there are too few.
func (s Store) AssignIngress(ctx context.Context, first, last netip.Addr, limit int) (exhausted bool, err error) {
	err = s.Do(ctx, func(q *db.Queries) (err error) {
		exhausted, err = ingresses.Assign(ctx, q, first, last, limit)
		return err
	})
	return exhausted, err
}
