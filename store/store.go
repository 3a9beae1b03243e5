// SPDX-License-Identifier: Apache-2.0

// Package store holds every line of SQL. Nothing else knows Postgres.
//
// It has two entry points, which are two types, so that code that runs for a tenant cannot be mixed up with code that runs for the
// platform:
//
//   - Tenant is made from a verified caller of one tenant. Every method runs as the role husk_tenant behind row-level security and
//     sees that tenant's rows only. In the same transaction the database checks the caller: the credentials exist, with the token's role.
//   - Control is for loops, operators and agents. Its methods run as the role husk_control and see all rows.
//
// The owner of the schema is used for migrations only.
//
// Every method is one transaction. It is retried as a whole when Postgres reports that it lost the connection or could not serialise
// the transaction. A method that creates something is guarded by its idempotency key, so that a commit with an unknown outcome can be
// retried. Methods return *husk.Error for what a caller may be told, and wrapped errors for everything else. The comment on each method
// names the codes that it returns.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/google/uuid"

	"husk"
	"husk/ingress"
	"husk/migrations"
	"husk/service/address"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/election"
	"husk/store/envelope"
	"husk/store/hints"
	"husk/store/pools"
	"husk/store/seal"
	"husk/store/services"
)

// The roles of the schema. They are created together with the database (docs/operations.md).
const (
	RoleOwner   = "husk_owner"
	RoleControl = "husk_control"
	RoleTenant  = "husk_tenant"
	RoleIngress = "husk_ingress"
)

// Config says where the database is and how tenants' networks are numbered.
type Config struct {
	URL           string         // postgres://host/db with the password that these roles share; the user is set per role
	MaxConns      int            // of the two largest pools; 0 means 16
	MasterKeys    [][]byte       // each 32 bytes; the first one seals; the others open what they have sealed
	PodRange      netip.Prefix   // the range that tenants' networks are taken from
	NetworkPrefix int            // prefix length of a tenant's network
	ServiceRange  netip.Prefix   // the range of the virtual addresses of services; the zero value means services.Default
	Reserved      []netip.Prefix // ranges that the platform uses in networks of tenants, in addition to ServiceRange
	FloatingRange address.Range  // of floating addresses; the zero value means that there are none
	Ingress       ingress.Public // what tenants see of ingress processes
	Log           *slog.Logger
}

// Store is the database. Its two entry points are Tenant and Control.
type Store struct{ *core }

// core is what both entry points share.
type core struct {
	pools pools.Set
	keys  envelope.Keys
	cfg   Config

	hub      *hints.Hub
	outbox   *hints.Outbox
	stop     context.CancelFunc
	finished sync.WaitGroup
}

// Tenant gives one caller of one tenant access to the database. Get it from Store.Tenant; the zero value refuses everything.
type Tenant struct {
	*core
	id     ID
	caller husk.Caller
}

// Control gives loops, operators and agents access to the rows of all tenants. Get it from Store.Control, Store.Logins or Store.Lookups.
type Control struct {
	*core
	pool *pools.Pool
}

// Tenant returns the access of a tenant's caller. The caller must come from a verified token or certificate. A caller who does not
// belong to a tenant gets a Tenant that refuses everything.
func (s *Store) Tenant(caller husk.Caller) Tenant { return Tenant{s.core, caller.TenantID, caller} }

// Watcher returns the access of watches to a tenant's lists. It does not check a caller: each watch checks its own.
func (s *Store) Watcher(tenant ID) Tenant { return Tenant{s.core, tenant, watcher} }

// watcher is the caller of reads for several watches. No token is for it.
var watcher = husk.Caller{Kind: "watcher"}

// Control returns the access of loops, operators and agents.
func (s *Store) Control() Control { return Control{s.core, s.pools.Control} }

// Logins is like Control, with connections of its own for logins, which anyone can send.
func (s *Store) Logins() Control { return Control{s.core, s.pools.Logins} }

// Lookups is like Control, with connections of its own for what requests of tenants need from the platform, such as their rate limits.
func (s *Store) Lookups() Control { return Control{s.core, s.pools.Lookups} }

// Open brings the schema up to date, connects, and starts listening for hints.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	master, err := seal.New(cfg.MasterKeys...)
	if err != nil {
		return nil, err
	}
	if !cfg.PodRange.IsValid() || cfg.NetworkPrefix < cfg.PodRange.Bits() || cfg.NetworkPrefix > 29 || !cfg.PodRange.Addr().Is4() {
		return nil, fmt.Errorf("the pod range %[2]s cannot be divided into networks of /%[1]d: the prefix length must be at most 29 and must not be shorter than the range's", cfg.NetworkPrefix, cfg.PodRange)
	}
	if !cfg.ServiceRange.IsValid() {
		cfg.ServiceRange = services.Default
	}
	if err := services.CheckRange(cfg.ServiceRange, cfg.PodRange); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := Migrate(ctx, cfg.URL); err != nil {
		return nil, err
	}
	s := &core{keys: envelope.Keys{Master: master}, cfg: cfg, hub: hints.NewHub(), outbox: hints.NewOutbox()}
	if s.pools, err = pools.OpenSet(ctx, cfg.URL, RoleTenant, RoleControl, cfg.MaxConns, s.outbox.Wake); err != nil {
		return nil, err
	}
	for n := 1; n > 0; {
		if n, err = inControl(ctx, Control{s, s.pools.Control}, func(q *db.Queries) (int, error) { return s.keys.Prepare(ctx, q) }); err != nil {
			s.pools.Close()
			return nil, err
		}
	}
	dsn, err := pools.WithRole(cfg.URL, RoleControl)
	if err != nil {
		return nil, err
	}
	listenCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.finished.Go(func() { s.hub.Listen(listenCtx, dsn, cfg.Log) })
	s.finished.Go(func() { s.outbox.Run(listenCtx, Control{s, s.pools.Hints}.sendHints, cfg.Log) })
	return &Store{s}, nil
}

// Close ends every connection and waits for them.
func (s *Store) Close() {
	s.stop()
	s.finished.Wait()
	s.pools.Close()
}

// Ping checks that Postgres responds, as the role for tenants.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pools.Tenants.Ping(ctx); err != nil {
		return fmt.Errorf("postgres does not respond: %w", err)
	}
	return nil
}

// Migrate brings the schema up to date, as its owner.
func Migrate(ctx context.Context, databaseURL string) error {
	dsn, err := pools.WithRole(databaseURL, RoleOwner)
	if err != nil {
		return err
	}
	if err := migrations.Apply(ctx, dsn); err != nil {
		return fmt.Errorf("as %s: %w", RoleOwner, err)
	}
	return nil
}

// Lead waits until this process leads, and then calls work with the new epoch. See election.Lead.
func (c Control) Lead(ctx context.Context, holder string, work func(ctx context.Context, epoch int64)) error {
	dsn, err := pools.WithRole(c.cfg.URL, RoleControl)
	if err != nil {
		return err
	}
	return election.Lead(ctx, dsn, holder, work)
}

// inControl runs a transaction of a loop, an operator or an agent.
func inControl[T any](ctx context.Context, c Control, f func(q *db.Queries) (T, error)) (T, error) {
	return retry(ctx, c.pool, platform, f)
}

// controlDo is inControl without a result.
func controlDo(ctx context.Context, c Control, f func(q *db.Queries) error) error {
	_, err := inControl(ctx, c, func(q *db.Queries) (struct{}, error) { return struct{}{}, f(q) })
	return err
}

// tenantDo is inTenant without a result.
func tenantDo(ctx context.Context, t Tenant, f func(q *db.Queries) error) error {
	_, err := inTenant(ctx, t, func(q *db.Queries) (struct{}, error) { return struct{}{}, f(q) })
	return err
}

// inTenant runs a transaction that sees one tenant's rows. Codes: unauthenticated (the credentials do not exist, or their role has changed).
func inTenant[T any](ctx context.Context, t Tenant, f func(q *db.Queries) (T, error)) (T, error) {
	var pool *pools.Pool
	if t.core != nil {
		pool = t.pools.Tenants
	}
	return inTenantOf(ctx, t, pool, f)
}

// inTenantOf is inTenant with connections of this pool.
func inTenantOf[T any](ctx context.Context, t Tenant, pool *pools.Pool, f func(q *db.Queries) (T, error)) (T, error) {
	if pool == nil || t.id == uuid.Nil || t.caller != watcher && (t.caller.Kind != husk.CallerTenant || t.caller.ID == uuid.Nil) {
		var zero T
		return zero, husk.Errorf(husk.CodeUnauthenticated, "", "this request needs a token of a tenant")
	}
	p := db.BeginTenantParams{Tenant: t.id, ClaimedRole: string(t.caller.Role), ClaimedLimit: string(t.caller.Limit)}
	if t.caller != watcher { // the database accepts no caller for the platform itself
		p.Subject = &t.caller.ID
	}
	if t.caller.KeyID != uuid.Nil {
		p.Key = &t.caller.KeyID
	}
	return retry(ctx, pool, t.id, func(q *db.Queries) (T, error) {
		var zero T
		valid, err := q.BeginTenant(ctx, p)
		if err != nil {
			return zero, err
		}
		if !valid {
			return zero, husk.Errorf(husk.CodeUnauthenticated, "", "the token's credentials were revoked or its role has changed; get a new token")
		}
		return f(q)
	})
}

// Connections returns the state of each pool. It sends nothing to Postgres.
func (s *Store) Connections() []pools.Connections {
	return convert.All(s.pools.All(), (*pools.Pool).State)
}
