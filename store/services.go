// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"net/netip"

	"husk/service"
	"husk/store/addresses"
	"husk/store/db"
	"husk/store/groups"
	"husk/store/hints"
	"husk/store/ingresses"
	"husk/store/networks"
	"husk/store/services"
)

// do runs a transaction of the tenant.
func (t Tenant) do(ctx context.Context, f func(q *db.Queries) error) error {
	return tenantDo(ctx, t, f)
}

// config returns the store's configuration. A tenant that nobody has opened has none.
func (t Tenant) config() (c Config) {
	if t.core != nil {
		c = t.cfg
	}
	return c
}

// Services gives access to the tenant's services.
func (t Tenant) Services() services.Tenant {
	return services.Tenant{ID: t.id, Record: requested, IfMatch: ifMatch, Do: t.do, Range: t.config().ServiceRange}
}

// Ingresses gives access to the tenant's ingresses.
func (t Tenant) Ingresses() ingresses.Tenant {
	return ingresses.Tenant{ID: t.id, Record: requested, IfMatch: ifMatch, Do: t.do, Public: t.config().Ingress}
}

// Networks gives access to the tenant's networks.
func (t Tenant) Networks() networks.Tenant {
	c := t.config()
	ranges := networks.Ranges{Pods: c.PodRange, Bits: c.NetworkPrefix, Reserved: append([]netip.Prefix{c.ServiceRange}, c.Reserved...)}
	return networks.Tenant{ID: t.id, Record: requested, IfMatch: ifMatch, Do: t.do, Ranges: ranges}
}

// Addresses gives access to the tenant's floating addresses.
func (t Tenant) Addresses() addresses.Tenant {
	return addresses.Tenant{ID: t.id, Record: requested, IfMatch: ifMatch, Do: t.do, Range: t.config().FloatingRange}
}

// SecurityGroups gives access to the tenant's security groups.
func (t Tenant) SecurityGroups() groups.Tenant {
	return groups.Tenant{ID: t.id, Record: requested, IfMatch: ifMatch, Do: t.do}
}

// SecurityGroups gives access to the security groups of all tenants.
func (c Control) SecurityGroups() groups.Control {
	return groups.Control{Do: func(ctx context.Context, f func(q *db.Queries) error) error { return controlDo(ctx, c, f) }}
}

// FloatingAddresses returns how many floating addresses are in use, and how many there are.
func (c Control) FloatingAddresses(ctx context.Context) (used, all int64, err error) {
	used, err = inControl(ctx, c, func(q *db.Queries) (int64, error) { return addresses.Count(ctx, q, c.cfg.FloatingRange) })
	return used, c.cfg.FloatingRange.Size(), err
}

// Zones returns the zones of a tenant's networks, in which all names end with this suffix.
func (c Control) Zones(ctx context.Context, tenant ID, suffix string) ([]service.Zone, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]service.Zone, error) {
		return services.Zones(ctx, q, tenant, c.cfg.ServiceRange, suffix)
	})
}

// NetworksOfNode returns the networks that have virtual machines on a node.
func (c Control) NetworksOfNode(ctx context.Context, node ID) ([]services.Network, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]services.Network, error) { return services.OfNode(ctx, q, node) })
}

// WatchNetworks collects the tenants in whose networks something has changed: services, or pods with their places, names, labels and readiness.
// Call Close when done.
func (c Control) WatchNetworks() *hints.Changes { return c.hub.Collect(hints.NetworkPrefix) }

// OnNetworkChange calls a function for each tenant in whose network something has changed, as in WatchNetworks. It sets all if hints may have
// been missed. The function must not block.
func (c Control) OnNetworkChange(do func(tenant ID, all bool)) {
	c.hub.OnHint(hints.NetworkPrefix, do)
}
