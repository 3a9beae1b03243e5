// SPDX-License-Identifier: Apache-2.0

// Package network brings OVN's northbound database in line with Postgres, which has the truth about networks and the pods in them. OVN's own
// programs turn the northbound database into what each node does with packets.
//
// # In OVN
//
// A network is a logical switch. Each tenant has a router, which connects the tenant's networks. A pod has a port on its network's switch, with
// exactly its MAC and IP address (port security), and bound to its node (requested-chassis). If the platform has a provider network, the router
// has a port there, on one of the gateway nodes, and translates the addresses of the tenant's networks to outer ones.
//
// # How it works
//
// The leader compares the whole database with Postgres when it connects and once an hour, tenant by tenant. Otherwise it makes only those changes
// that triggers have recorded (package store/topology), in batches. Rows of ours have keys in external_ids. Such a row that should not exist is
// removed. Rows of others stay.
package network

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"

	"husk"
	"husk/ovsdb"
	"husk/service/address"
	"husk/store/topology"
)

// Config says where OVN is and what pods may do. Without endpoints, nothing is written.
type Config struct {
	Northbound []string      // endpoints of the northbound database, such as ssl:192.0.2.1:6641 or unix:/run/ovn/ovnnb_db.sock
	TLS        *tls.Config   // for endpoints with ssl:
	Provider   *Provider     // nil: pods reach nothing outside of their tenant's networks
	Floating   address.Range // the provider network's addresses that tenants take (package service/address)
	Egress     Egress
	Limits     Limits
	Ingress    *Ingress // nil: there are no ingress processes
}

// Provider is the network through which pods reach others, and others reach them.
type Provider struct {
	Name        string       // in the bridge mappings of the gateway nodes
	VLAN        int          // 0: untagged
	Gateway     netip.Prefix // its router's address, with the network's prefix length
	First, Last netip.Addr   // the addresses that networks get
}

// Reserved returns the ranges that no network of a tenant may overlap: its router would confuse them with its own networks.
func (c Config) Reserved() []netip.Prefix {
	if c.Provider == nil {
		return nil
	}
	all := []netip.Prefix{c.Provider.Gateway.Masked()}
	if c.Ingress != nil {
		all = append(all, c.Ingress.Range.Masked())
	}
	return all
}

// Egress says which addresses outside of their networks pods may reach. By default that is the public Internet, not private and special ranges.
type Egress struct {
	Deny  []netip.Prefix // pods may not reach these, even if Allow contains them
	Allow []netip.Prefix // pods may reach these, even if they are excluded by default
}

// Limits says how much of the network pods can use. 0 means no limit.
type Limits struct {
	BytesPerSecond    int // of a pod, in each direction
	Connections       int // of a pod, that its node keeps track of
	TenantConnections int // of a tenant, through its gateway
}

const (
	// batchChanges and batchTenants are how many changes and tenants one pass handles. A transaction must end well before its deadline, also on a busy
	// machine: after that, everything is compared again.
	batchChanges = 300
	batchTenants = 25
	// compareEvery is how often everything is compared.
	compareEvery = time.Hour
)

// Reconciler is the state of one leadership. It belongs to one goroutine.
type Reconciler struct {
	cfg   Config
	store topology.Store
	log   *slog.Logger

	conn      *ovsdb.Connection
	gateways  []uuid.UUID // of the last comparison
	compared  time.Time   // when everything was last compared over this connection; zero: not yet
	position  uuid.UUID   // of the comparison under way: all tenants up to this one are done
	exhausted bool        // there are too few outer addresses, which was logged

	ingressExhausted bool // the same for the ingress range

	incarnation husk.Incarnation // of Postgres
}

// New returns a reconciler that has not connected yet.
func New(cfg Config, store topology.Store, log *slog.Logger) *Reconciler {
	return &Reconciler{cfg: cfg, store: store, log: log, conn: ovsdb.New(ovsdb.Config{
		Database: "the northbound database", Model: databaseModel, Endpoints: cfg.Northbound, LeaderOnly: len(cfg.Northbound) > 1, TLS: cfg.TLS,
	})}
}

// Close ends the connection.
func (r *Reconciler) Close() { r.conn.Close() }

// Pass makes what has changed. more means that it should run again at once.
func (r *Reconciler) Pass(ctx context.Context, epoch int64) (more bool, err error) {
	if len(r.cfg.Northbound) == 0 { // nobody needs the changes, and a comparison would find them
		changes, err := r.store.Changes(ctx, batchChanges)
		if err != nil || len(changes) == 0 {
			return false, err
		}
		return len(changes) == batchChanges, r.store.Drop(ctx, changes)
	}
	fresh, err := r.conn.Open(ctx)
	if err != nil {
		return false, err
	}
	if fresh {
		context.AfterFunc(ctx, r.conn.Client().Close) // this server does not lead any more
		r.compared, r.position = time.Time{}, uuid.Nil
		if err := r.lead(ctx, epoch); err != nil {
			return false, err
		}
		if p := r.cfg.Provider; p != nil {
			if err := r.store.ClearOuter(ctx, p.First, p.Last); err != nil {
				return false, err
			}
		}
		if i := r.cfg.Ingress; i != nil {
			first, last := i.bounds()
			if err := r.store.ClearIngress(ctx, first, last); err != nil {
				return false, err
			}
		}
	}
	if err := r.assign(ctx); err != nil {
		return false, err
	}
	gateways, err := r.store.Gateways(ctx)
	if err != nil {
		return false, err
	}
	comparing := r.compared.IsZero() || time.Since(r.compared) > compareEvery || !slices.Equal(gateways, r.gateways)
	if comparing {
		if err := r.compareMore(ctx, epoch, gateways); err != nil {
			return false, err
		}
	}
	// A comparison takes several passes, and new pods do not wait for its end.
	all, err := r.store.Changes(ctx, batchChanges)
	if err != nil || len(all) == 0 {
		return comparing, err
	}
	changes := bounded(all)
	b, err := r.begin(ctx, epoch)
	if err != nil {
		return false, err
	}
	if err := r.make(ctx, b, changes, gateways); err != nil {
		return false, err
	}
	if err := r.commit(ctx, b); err != nil {
		return false, err
	}
	return comparing || len(changes) < len(all) || len(all) == batchChanges, r.store.Drop(ctx, changes)
}

// bounded returns the first changes, with at most batchTenants tenants of which more than ports changes.
func bounded(changes []topology.Change) []topology.Change {
	tenants := map[uuid.UUID]bool{}
	for i, c := range changes {
		if c.Pod != nil || tenants[c.Tenant] {
			continue
		}
		if len(tenants) == batchTenants {
			return changes[:i]
		}
		tenants[c.Tenant] = true
	}
	return changes
}

// assign gives networks their outer addresses.
func (r *Reconciler) assign(ctx context.Context) error {
	p := r.cfg.Provider
	if p == nil {
		return nil
	}
	_, exhausted, err := r.store.AssignOuter(ctx, p.First, p.Last, batchChanges)
	if exhausted && !r.exhausted {
		r.log.Error("all outer addresses are in use, so some networks reach nothing outside; configure a larger range with --provider-addresses", "first", p.First, "last", p.Last)
	}
	r.exhausted = exhausted
	if err != nil || r.cfg.Ingress == nil {
		return err
	}
	first, last := r.cfg.Ingress.bounds()
	exhausted, err = r.store.AssignIngress(ctx, first, last, batchChanges)
	if exhausted && !r.ingressExhausted {
		r.log.Error("all addresses of the ingress range are in use, so some ingresses do not reach their services; configure a larger range with --ingress-range", "range", r.cfg.Ingress.Range)
	}
	r.ingressExhausted = exhausted
	return err
}

// The keys of NB_Global's external_ids that say which leadership wrote last: its epoch, and the incarnation of Postgres that counts the epochs.
const (
	epochKey       = "husk-epoch"
	incarnationKey = "husk-incarnation"
)

var errNotLeading = errors.New("another server writes to the northbound database")

// lead records the epoch in the database, unless a later one is there.
func (r *Reconciler) lead(ctx context.Context, epoch int64) error {
	is, err := r.global(ctx)
	if err != nil {
		return err
	}
	if r.incarnation, err = r.store.Incarnation(ctx); err != nil {
		return err
	}
	last := husk.Incarnation(is.ExternalIDs[incarnationKey])
	was, err := strconv.ParseInt(is.ExternalIDs[epochKey], 10, 64)
	if last.NewerThan(r.incarnation) && !r.incarnation.NewerThan(last) || last == r.incarnation && err == nil && was > epoch {
		r.conn.Close()
		return fmt.Errorf("%w: its epoch is %d of %s, and ours is %d of %s", errNotLeading, was, last, epoch, r.incarnation)
	}
	ids := maps.Clone(is.ExternalIDs)
	if ids == nil {
		ids = map[string]string{}
	}
	ids[epochKey], ids[incarnationKey] = strconv.FormatInt(epoch, 10), string(r.incarnation)
	if maps.Equal(ids, is.ExternalIDs) {
		return nil
	}
	guard, err := unchanged(is)
	if err != nil {
		return err
	}
	next := &globalRow{UUID: is.UUID, ExternalIDs: ids}
	ops, err := r.conn.Client().Where(model.Model(is)).Update(next, &next.ExternalIDs)
	if err != nil {
		return err
	}
	return r.conn.Transact(ctx, append([]libovsdb.Operation{guard}, ops...))
}

// begin returns a batch whose transaction fails if a later leader has written.
func (r *Reconciler) begin(ctx context.Context, epoch int64) (*batch, error) {
	is, err := r.global(ctx)
	if err != nil {
		return nil, err
	}
	if is.ExternalIDs[epochKey] != strconv.FormatInt(epoch, 10) || is.ExternalIDs[incarnationKey] != string(r.incarnation) {
		r.conn.Close()
		return nil, fmt.Errorf("%w: its epoch is %s, and ours is %d", errNotLeading, is.ExternalIDs[epochKey], epoch)
	}
	guard, err := unchanged(is)
	return &batch{db: r.conn.Client(), ops: []libovsdb.Operation{guard}}, err
}

// commit makes the operations of a batch, if there are any.
func (r *Reconciler) commit(ctx context.Context, b *batch) error {
	if len(b.ops) <= 1 { // the guard
		return nil
	}
	return r.conn.Transact(ctx, b.ops)
}

func (r *Reconciler) global(ctx context.Context) (*globalRow, error) {
	var found []globalRow
	if err := r.conn.Client().List(ctx, &found); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("the northbound database has %d rows in NB_Global, not one; initialize it with ovn-nbctl init", len(found))
	}
	return &found[0], nil
}

// unchanged returns an operation that fails if the database's external_ids are not these any more.
func unchanged(is *globalRow) (libovsdb.Operation, error) {
	ids, err := libovsdb.NewOvsMap(is.ExternalIDs)
	at := 0
	return libovsdb.Operation{
		Op: libovsdb.OperationWait, Table: "NB_Global", Timeout: &at, Columns: []string{"external_ids"}, Until: string(libovsdb.WaitConditionEqual),
		Where: []libovsdb.Condition{{Column: "_uuid", Function: libovsdb.ConditionEqual, Value: libovsdb.UUID{GoUUID: is.UUID}}},
		Rows:  []libovsdb.Row{{"external_ids": ids}},
	}, err
}

// make adds the operations that make changes.
func (r *Reconciler) make(ctx context.Context, b *batch, changes []topology.Change, gateways []uuid.UUID) error {
	whole, balanced, pods, tenantsOfPods := map[uuid.UUID]bool{}, map[uuid.UUID]bool{}, map[uuid.UUID]uuid.UUID{}, map[uuid.UUID]bool{}
	for _, c := range changes {
		if c.Pod == nil && !c.Services {
			whole[c.Tenant] = true
		}
	}
	for _, c := range changes {
		switch {
		case whole[c.Tenant]:
		case c.Services:
			balanced[c.Tenant] = true
		default:
			pods[*c.Pod] = c.Tenant
			tenantsOfPods[c.Tenant] = true
		}
	}
	ports, err := r.store.Ports(ctx, slices.Collect(maps.Keys(tenantsOfPods)), slices.Collect(maps.Keys(pods)))
	if err != nil {
		return err
	}
	want := make(map[uuid.UUID][]topology.Port, len(pods))
	for _, p := range ports {
		want[p.PodID] = append(want[p.PodID], p)
		s, err := one(ctx, b, switches, switchName(p.Network))
		if err != nil {
			return err
		}
		if s == nil { // its network is not there yet
			whole[pods[p.PodID]] = true
		}
		for _, g := range p.Groups { // it is not there yet
			row, err := one(ctx, b, portGroups, groupKeyOf(g))
			if err != nil {
				return err
			}
			if row == nil {
				whole[pods[p.PodID]] = true
			}
		}
	}
	for pod, tenant := range pods {
		if whole[tenant] {
			continue
		}
		if err := r.movePorts(ctx, b, tenant, pod, want[pod]); err != nil {
			return err
		}
	}
	maps.DeleteFunc(balanced, func(tenant uuid.UUID, _ bool) bool { return whole[tenant] })
	if err := r.makeAllServices(ctx, b, slices.Collect(maps.Keys(balanced))); err != nil {
		return err
	}
	tenants, err := r.store.Tenants(ctx, slices.Collect(maps.Keys(whole)))
	if err != nil {
		return err
	}
	for _, t := range tenants {
		if err := r.makeTenant(ctx, b, t, gateways); err != nil {
			return err
		}
	}
	return nil
}

// makeAllServices adds the operations that bring the services of tenants in line.
func (r *Reconciler) makeAllServices(ctx context.Context, b *batch, tenants []uuid.UUID) error {
	if len(tenants) == 0 {
		return nil // the store would return those of all
	}
	all, err := r.store.Services(ctx, tenants)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := r.makeServices(ctx, b, t); err != nil {
			return err
		}
	}
	return nil
}

// compareMore compares the next tenants, after what belongs to none.
func (r *Reconciler) compareMore(ctx context.Context, epoch int64, gateways []uuid.UUID) error {
	if r.position == uuid.Nil { // in a transaction of its own, because tenants' rows refer to it
		b, err := r.begin(ctx, epoch)
		if err != nil {
			return err
		}
		if err := r.makePlatform(ctx, b, gateways); err != nil {
			return err
		}
		if err := r.commit(ctx, b); err != nil {
			return err
		}
	}
	b, err := r.begin(ctx, epoch)
	if err != nil {
		return err
	}
	ids, err := r.store.TenantIDs(ctx, r.position, batchTenants)
	if err != nil {
		return err
	}
	tenants, err := r.store.Tenants(ctx, ids)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		if err := r.makeTenant(ctx, b, t, gateways); err != nil {
			return err
		}
	}
	last := len(ids) < batchTenants
	if last {
		if err := r.removeStrangers(ctx, b); err != nil {
			return err
		}
	}
	if err := r.commit(ctx, b); err != nil {
		return err
	}
	if last {
		r.position, r.compared, r.gateways = uuid.Nil, time.Now(), gateways
		return nil
	}
	r.position = ids[len(ids)-1]
	return nil
}

// removeStrangers removes what belongs to tenants that do not exist any more.
func (r *Reconciler) removeStrangers(ctx context.Context, b *batch) error {
	known := map[string]bool{"": true, platform: true}
	for after := uuid.Nil; ; {
		ids, err := r.store.TenantIDs(ctx, after, 10*batchTenants)
		if err != nil {
			return err
		}
		for _, id := range ids {
			known[id.String()] = true
			after = id
		}
		if len(ids) < 10*batchTenants {
			break
		}
	}
	gone := map[string]bool{}
	err := errors.Join(
		owners(ctx, b, switches, gone), owners(ctx, b, routers, gone), owners(ctx, b, ports, gone), owners(ctx, b, balancers, gone),
		owners(ctx, b, sets, gone), owners(ctx, b, portGroups, gone),
	)
	if err != nil {
		return err
	}
	maps.DeleteFunc(gone, func(owner string, _ bool) bool { return known[owner] })
	for owner := range gone {
		id, err := uuid.Parse(owner)
		if err != nil {
			continue // not one of ours
		}
		if err := r.makeTenant(ctx, b, topology.Tenant{ID: id}, nil); err != nil {
			return err
		}
	}
	return nil
}

// owners adds the owners of the rows of a table. Rows of others have none.
func owners[M any](ctx context.Context, b *batch, t table[M], all map[string]bool) error {
	var rows []M
	if err := b.db.List(ctx, &rows); err != nil {
		return err
	}
	for i := range rows {
		all[(*t.ids(&rows[i]))[idOwner]] = true
	}
	return nil
}
