// SPDX-License-Identifier: Apache-2.0

// Package networks stores tenants' networks, in transactions of package store. Package admission gives pods their addresses in them.
package networks

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// Ranges says which ranges tenants' networks can have.
type Ranges struct {
	Pods     netip.Prefix   // from which networks get theirs if the tenant does not choose
	Bits     int            // length of the prefix of these
	Reserved []netip.Prefix // no network overlaps these
}

// Tenant is the access of a tenant's caller to networks.
type Tenant struct {
	ID      uuid.UUID
	Ranges  Ranges
	Do      func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	IfMatch func(ctx context.Context, object any) error                  // refuses if the caller expects another version
	Record  func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

// Create stores a network. Codes: quota_exceeded, name_taken, conflict (the range), idempotency_mismatch.
func (t Tenant) Create(ctx context.Context, key repeats.Key, n husk.Network) (made husk.Network, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		tenant, err := q.LockTenant(ctx, t.ID)
		if err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		made, err = repeats.Once(ctx, q, t.ID, key, func() (uuid.UUID, husk.Network, error) {
			n.ID = uuid.New()
			made, err := t.insert(ctx, q, tenant, n)
			if err == nil {
				err = t.Record(ctx, q, t.ID, "network", n.ID, "Created", "")
			}
			return n.ID, made, err
		}, func(id uuid.UUID) (husk.Network, error) { return t.read(ctx, q, id) })
		return err
	})
	return made, err
}

func (t Tenant) insert(ctx context.Context, q *db.Queries, tenant db.Tenant, n husk.Network) (husk.Network, error) {
	known, err := q.TenantNetworks(ctx, t.ID)
	if err != nil {
		return n, err
	}
	if err := admission.Quota("", "networks", len(known), 1, tenant.QuotaNetworks); err != nil {
		return n, err
	}
	taken := husk.Errorf(husk.CodeNameTaken, "name", "a network named %q exists already", n.Name)
	if n.Name == husk.DefaultNetwork { // each tenant has it from the start
		return n, taken
	}
	if n.CIDR.IsValid() {
		err = t.free(known, n)
	} else {
		n.CIDR, err = t.choose(known)
	}
	if err != nil {
		return n, err
	}
	p := db.AddNetworkParams{TenantID: t.ID, ID: n.ID, Name: n.Name, Labels: n.Labels, Cidr: n.CIDR, Isolated: n.Isolated}
	if n.IPv6CIDR.IsValid() {
		p.Ipv6Cidr = &n.IPv6CIDR
	}
	row, err := q.AddNetwork(ctx, p)
	if pgerr.UniqueViolation(err, "networks_tenant_id_name_key") {
		return n, taken
	}
	return convert.Network(row, 0), err
}

// free refuses a network whose ranges are in use. All networks of a tenant can be connected.
func (t Tenant) free(known []db.Network, n husk.Network) error {
	for _, r := range t.Ranges.Reserved {
		if r.Overlaps(n.CIDR) {
			return husk.Errorf(husk.CodeConflict, "cidr", "the range %s overlaps %s, which the platform uses itself; choose another one", n.CIDR, r)
		}
	}
	for _, k := range known {
		if k.Cidr.Overlaps(n.CIDR) {
			return husk.Errorf(husk.CodeConflict, "cidr", "the range %s overlaps that of the tenant's network %q, %s; choose another one", n.CIDR, k.Name, k.Cidr)
		}
		if k.Ipv6Cidr != nil && n.IPv6CIDR.IsValid() && k.Ipv6Cidr.Overlaps(n.IPv6CIDR) {
			return husk.Errorf(husk.CodeConflict, "ipv6Cidr", "the range %s overlaps that of the tenant's network %q, %s; choose another one", n.IPv6CIDR, k.Name, k.Ipv6Cidr)
		}
	}
	return nil
}

// choose returns the first range for pods that none of the tenant's networks overlaps. Those of other tenants do not matter.
func (t Tenant) choose(known []db.Network) (netip.Prefix, error) {
	taken := slices.Clone(t.Ranges.Reserved)
	for _, k := range known {
		taken = append(taken, k.Cidr)
	}
	for r := netip.PrefixFrom(t.Ranges.Pods.Masked().Addr(), t.Ranges.Bits); t.Ranges.Pods.Contains(r.Addr()); {
		at := slices.IndexFunc(taken, func(p netip.Prefix) bool { return p.Overlaps(r) })
		if at < 0 {
			return r, nil
		}
		next := convert.Last(r).Next()
		if last := convert.Last(taken[at]); last.Compare(next) >= 0 { // the range that is taken may be larger
			next = netip.PrefixFrom(last, t.Ranges.Bits).Masked().Addr()
			next = convert.Last(netip.PrefixFrom(next, t.Ranges.Bits)).Next()
		}
		r = netip.PrefixFrom(next, t.Ranges.Bits)
	}
	return netip.Prefix{}, husk.Errorf(husk.CodeQuotaExceeded, "cidr", "no range of %s is free; choose one outside of it", t.Ranges.Pods)
}

// Get returns a network. Codes: not_found.
func (t Tenant) Get(ctx context.Context, id uuid.UUID) (n husk.Network, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		n, err = t.read(ctx, q, id)
		return err
	})
	return n, err
}

func (t Tenant) read(ctx context.Context, q *db.Queries, id uuid.UUID) (husk.Network, error) {
	row, err := q.NetworkByID(ctx, db.NetworkByIDParams{TenantID: t.ID, ID: id})
	return convert.Network(row.Network, row.Pods), pgerr.NotFound(err, "network")
}

// List lists networks, oldest first. A nil name selects all, and so does a nil selector. Codes: invalid (cursor).
func (t Tenant) List(ctx context.Context, page cursor.Page, name *string, labels husk.Selector) (items []husk.Network, next string, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		items, next, err = cursor.Read(page, func(after cursor.Position, limit int) ([]db.NetworksRow, error) {
			return q.Networks(ctx, db.NetworksParams{TenantID: t.ID, AfterTime: after.At, AfterID: after.ID, Name: name, Selector: convert.Selector(labels), Max: limit})
		}, func(r db.NetworksRow) husk.Network { return convert.Network(r.Network, r.Pods) }, func(n husk.Network) (time.Time, uuid.UUID) { return n.CreatedAt, n.ID })
		return err
	})
	return items, next, err
}

// Relabel changes labels. Codes: not_found, invalid, precondition_failed.
func (t Tenant) Relabel(ctx context.Context, id uuid.UUID, labels map[string]*string) (now husk.Network, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		was, err := t.lock(ctx, q, id)
		if err != nil {
			return err
		}
		all, err := lifecycle.Labels(was.Labels, labels, "labels")
		if err != nil {
			return err
		}
		if err := q.SetNetworkLabels(ctx, db.SetNetworkLabelsParams{TenantID: t.ID, ID: id, Labels: all}); err != nil {
			return err
		}
		if now, err = t.read(ctx, q, id); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "network", id, "Changed", "")
	})
	return now, err
}

// Delete deletes a network without pods. Codes: not_found, conflict, precondition_failed.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID) error {
	return t.Do(ctx, func(q *db.Queries) error {
		was, err := t.lock(ctx, q, id)
		if err != nil {
			return err
		}
		if was.Name == husk.DefaultNetwork {
			return husk.Errorf(husk.CodeConflict, "", "the network %q is that of all pods that name no other, and stays as long as the tenant", was.Name)
		}
		err = q.RemoveNetwork(ctx, db.RemoveNetworkParams{TenantID: t.ID, ID: id})
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23503" {
			return husk.Errorf(husk.CodeConflict, "", "the network %q still has pods (%d); delete them first", was.Name, was.Status.Pods)
		}
		if err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "network", id, "Deleted", "")
	})
}

// lock returns a network that the transaction will change, in the version that the caller expects.
func (t Tenant) lock(ctx context.Context, q *db.Queries, id uuid.UUID) (husk.Network, error) {
	if _, err := q.LockNetwork(ctx, db.LockNetworkParams{TenantID: t.ID, ID: id}); err != nil {
		return husk.Network{}, pgerr.NotFound(err, "network")
	}
	n, err := t.read(ctx, q, id)
	if err != nil {
		return n, err
	}
	return n, t.IfMatch(ctx, n)
}
