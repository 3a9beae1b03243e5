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
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"husk"
	"husk/migrations"
	"husk/store/db"
	"husk/store/election"
	"husk/store/hints"
	"husk/store/seal"
)

// The roles of the schema. They are created together with the database (docs/operations.md).
const (
	RoleOwner   = "husk_owner"
	RoleControl = "husk_control"
	RoleTenant  = "husk_tenant"
)

// Config says where the database is and how tenants' networks are numbered.
type Config struct {
	URL           string       // postgres://host/db with the password that all three roles share; the user is set per role
	MaxConns      int32        // per role; 0 means 16
	MasterKeys    [][]byte     // each 32 bytes; the first one seals; the others open what they have sealed
	PodRange      netip.Prefix // the range that tenants' networks are taken from
	NetworkPrefix int          // prefix length of a tenant's network
	Log           *slog.Logger
}

// Store is the database. Its two entry points are Tenant and Control.
type Store struct{ *core }

// core is what both entry points share.
type core struct {
	tenant, control *pgxpool.Pool
	seal            *seal.Sealer // with the master keys
	tenantSeals     tenantSeals
	cfg             Config

	hub      *hints.Hub
	stop     context.CancelFunc
	finished sync.WaitGroup
}

// Tenant gives one caller of one tenant access to the database. Get it from Store.Tenant; the zero value refuses everything.
type Tenant struct {
	*core
	id     ID
	caller husk.Caller
}

// Control gives loops, operators and agents access to the rows of all tenants. Get it from Store.Control.
type Control struct{ *core }

// Tenant returns the access of a tenant's caller. The caller must come from a verified token or certificate. A caller who does not
// belong to a tenant gets a Tenant that refuses everything.
func (s *Store) Tenant(caller husk.Caller) Tenant { return Tenant{s.core, caller.TenantID, caller} }

// Control returns the access of loops, operators and agents.
func (s *Store) Control() Control { return Control{s.core} }

// Open brings the schema up to date, connects, and starts listening for hints.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	master, err := seal.New(cfg.MasterKeys...)
	if err != nil {
		return nil, err
	}
	if !cfg.PodRange.IsValid() || cfg.NetworkPrefix < cfg.PodRange.Bits() || cfg.NetworkPrefix > 29 || !cfg.PodRange.Addr().Is4() {
		return nil, fmt.Errorf("the pod range %[2]s cannot be divided into networks of /%[1]d: the prefix length must be at most 29 and must not be shorter than the range's", cfg.NetworkPrefix, cfg.PodRange)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := Migrate(ctx, cfg.URL); err != nil {
		return nil, err
	}
	s := &core{seal: master, cfg: cfg, hub: hints.NewHub()}
	if s.tenant, err = s.pool(ctx, RoleTenant); err != nil {
		return nil, err
	}
	if s.control, err = s.pool(ctx, RoleControl); err != nil {
		s.tenant.Close()
		return nil, err
	}
	if err := (Control{s}).prepareTenantKeys(ctx); err != nil {
		s.tenant.Close()
		s.control.Close()
		return nil, err
	}
	dsn, err := withRole(cfg.URL, RoleControl)
	if err != nil {
		return nil, err
	}
	listenCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.finished.Go(func() { s.hub.Listen(listenCtx, dsn, cfg.Log) })
	return &Store{s}, nil
}

// Close ends every connection and waits for them.
func (s *Store) Close() {
	s.stop()
	s.finished.Wait()
	s.tenant.Close()
	s.control.Close()
}

// Ping checks that Postgres responds, as the role for tenants.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.tenant.Ping(ctx); err != nil {
		return fmt.Errorf("postgres does not respond: %w", err)
	}
	return nil
}

// withRole puts the role into the database URL, keeping the password.
func withRole(raw, role string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", errors.New("the database must be given as a URL, postgres://:password@host:port/name")
	}
	if password, ok := u.User.Password(); ok {
		u.User = url.UserPassword(role, password)
	} else {
		u.User = url.User(role)
	}
	return u.String(), nil
}

func (s *core) pool(ctx context.Context, role string) (*pgxpool.Pool, error) {
	dsn, err := withRole(s.cfg.URL, role)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.MaxConns = 16
	if s.cfg.MaxConns > 0 {
		cfg.MaxConns = s.cfg.MaxConns
	}
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.RuntimeParams["application_name"] = "husk " + role
	// A request that waits for a lock must not hold a connection indefinitely.
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "30s"
	cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	cfg.ConnConfig.RuntimeParams["jit"] = "off" // our statements are short: compiling one takes longer than running it
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres as %s: %w", role, err)
	}
	return pool, nil
}

// Migrate brings the schema up to date, as its owner.
func Migrate(ctx context.Context, databaseURL string) error {
	dsn, err := withRole(databaseURL, RoleOwner)
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
	dsn, err := withRole(c.cfg.URL, RoleControl)
	if err != nil {
		return err
	}
	return election.Lead(ctx, dsn, holder, work)
}

// inControl runs a transaction of a loop, an operator or an agent.
func inControl[T any](ctx context.Context, s *core, f func(q *db.Queries) (T, error)) (T, error) {
	return retry(ctx, s.control, f)
}

// controlDo is inControl without a result.
func controlDo(ctx context.Context, c Control, f func(q *db.Queries) error) error {
	_, err := inControl(ctx, c.core, func(q *db.Queries) (struct{}, error) { return struct{}{}, f(q) })
	return err
}

// tenantDo is inTenant without a result.
func tenantDo(ctx context.Context, t Tenant, f func(q *db.Queries) error) error {
	_, err := inTenant(ctx, t, func(q *db.Queries) (struct{}, error) { return struct{}{}, f(q) })
	return err
}

// inTenant runs a transaction that sees one tenant's rows. Codes: unauthenticated (the credentials do not exist, or their role has changed).
func inTenant[T any](ctx context.Context, t Tenant, f func(q *db.Queries) (T, error)) (T, error) {
	if t.core == nil || t.caller.Kind != husk.CallerTenant || t.id == uuid.Nil || t.caller.ID == uuid.Nil {
		var zero T
		return zero, husk.Errorf(husk.CodeUnauthenticated, "", "this request needs a token of a tenant")
	}
	p := db.BeginTenantParams{Tenant: t.id, Subject: &t.caller.ID, ClaimedRole: string(t.caller.Role), ClaimedLimit: string(t.caller.Limit)}
	if t.caller.KeyID != uuid.Nil {
		p.Key = &t.caller.KeyID
	}
	return retry(ctx, t.tenant, func(q *db.Queries) (T, error) {
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

// Connections is the state of one role's pool of connections to Postgres.
type Connections struct {
	Role             string
	InUse, Idle, Max int32
	Waits            int64         // transactions that had to wait for a connection
	Waited           time.Duration // total waiting time
}

// Connections returns the state of each pool. It sends nothing to Postgres.
func (s *Store) Connections() []Connections {
	of := func(role string, pool *pgxpool.Pool) Connections {
		stat := pool.Stat()
		return Connections{
			Role: role, InUse: stat.AcquiredConns(), Idle: stat.IdleConns(), Max: stat.MaxConns(), Waits: stat.EmptyAcquireCount(), Waited: stat.EmptyAcquireWaitTime(),
		}
	}
	return []Connections{of(RoleTenant, s.tenant), of(RoleControl, s.control)}
}
