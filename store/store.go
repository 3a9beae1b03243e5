// Package store holds every line of SQL. Nothing else knows Postgres.
//
// Tenants' methods take the tenant first and run as the role husk_tenant behind row-level security. Control methods, for loops,
// operators and agents, run as husk_control. The owner of the schema is used for migrations only. Every method is one transaction,
// retried whole when Postgres says so; a method that creates something is settled by its idempotency key, so that a commit whose
// outcome is unknown can be tried again. Methods return *husk.Error for what a caller may be told and wrapped errors for the rest.
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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"

	"husk"
	"husk/migrations"
	"husk/store/db"
)

// The roles of the schema. They are made by whoever makes the database (docs/operations.md).
const (
	RoleOwner   = "husk_owner"
	RoleControl = "husk_control"
	RoleTenant  = "husk_tenant"
)

// Config says where the database is and how networks are numbered.
type Config struct {
	URL           string       // postgres://host/db with the password that all three roles share; the user is put in per role
	MaxConns      int32        // per role; 0 means 16
	MasterKeys    [][]byte     // each 32 bytes; the first seals, the others still open what they sealed
	PodRange      netip.Prefix // from which tenants' networks are cut
	NetworkPrefix int          // length of a tenant network's prefix
	Log           *slog.Logger
}

// Store is the database.
type Store struct {
	tenant, control *pgxpool.Pool
	seal            *sealer // with the master keys
	tenantSeals     tenantSeals
	cfg             Config

	hub      *hub
	stop     context.CancelFunc
	finished sync.WaitGroup
}

// Open migrates the schema if this process is the first to, connects, and starts listening for hints.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	seal, err := newSealer(cfg.MasterKeys...)
	if err != nil {
		return nil, err
	}
	if !cfg.PodRange.IsValid() || cfg.NetworkPrefix < cfg.PodRange.Bits() || cfg.NetworkPrefix > 29 || !cfg.PodRange.Addr().Is4() {
		return nil, fmt.Errorf("cannot cut networks of /%d out of the pod range %s: the prefix must be at most 29 and inside the range", cfg.NetworkPrefix, cfg.PodRange)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := Migrate(ctx, cfg.URL); err != nil {
		return nil, err
	}
	s := &Store{seal: seal, cfg: cfg, hub: newHub()}
	if s.tenant, err = s.pool(ctx, RoleTenant); err != nil {
		return nil, err
	}
	if s.control, err = s.pool(ctx, RoleControl); err != nil {
		s.tenant.Close()
		return nil, err
	}
	if err := s.prepareTenantKeys(ctx); err != nil {
		s.tenant.Close()
		s.control.Close()
		return nil, err
	}
	listenCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.finished.Go(func() { s.listen(listenCtx) })
	return s, nil
}

// Close ends every connection and waits for them.
func (s *Store) Close() {
	s.stop()
	s.finished.Wait()
	s.tenant.Close()
	s.control.Close()
}

// Ping asks Postgres for an answer, as the role that serves tenants.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.tenant.Ping(ctx); err != nil {
		return fmt.Errorf("postgres does not answer: %w", err)
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

func (s *Store) pool(ctx context.Context, role string) (*pgxpool.Pool, error) {
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
	// A request that hangs in a lock must not hold a connection for ever.
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "30s"
	cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	cfg.ConnConfig.RuntimeParams["jit"] = "off" // our statements are short; compiling one takes longer than running it
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres as %s: %w", role, err)
	}
	return pool, nil
}

// Migrate brings the schema up to date. Servers that start together take turns under tern's advisory lock; all but the first find nothing to do.
func Migrate(ctx context.Context, databaseURL string) error {
	dsn, err := withRole(databaseURL, RoleOwner)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to postgres as %s to migrate: %w", RoleOwner, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m, err := migrate.NewMigrator(ctx, conn, "schema_version")
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if err := m.LoadMigrations(migrations.FS); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}

// inControl runs a transaction of a loop, an operator or an agent.
func inControl[T any](ctx context.Context, s *Store, f func(q *db.Queries) (T, error)) (T, error) {
	return retry(ctx, s.control, f)
}

// inTenant runs a transaction that sees one tenant's rows. When it is a tenant's request, whoever makes it must still be who the
// token says. Codes: unauthenticated.
func inTenant[T any](ctx context.Context, s *Store, tenant ID, f func(q *db.Queries) (T, error)) (T, error) {
	p := db.BeginTenantParams{Tenant: tenant}
	if r, ok := requestOf(ctx); ok && r.Caller.Kind == husk.CallerTenant {
		p.Subject, p.ClaimedRole = &r.Caller.ID, string(r.Caller.Role)
		p.ClaimedLimit = string(r.Caller.Limit)
		if r.Caller.KeyID != uuid.Nil {
			p.Key = &r.Caller.KeyID
		}
	}
	return retry(ctx, s.tenant, func(q *db.Queries) (T, error) {
		var zero T
		valid, err := q.BeginTenant(ctx, p)
		if err != nil {
			return zero, err
		}
		if !valid {
			return zero, husk.Errorf(husk.CodeUnauthenticated, "", "whoever this token was made for was revoked or has another role now; get a new token")
		}
		return f(q)
	})
}
