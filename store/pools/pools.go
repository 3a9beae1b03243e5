// SPDX-License-Identifier: Apache-2.0

// Package pools holds the connections to Postgres, in one pool for each purpose. What fills one pool cannot delay what uses another. In a
// pool that serves tenants, a tenant that waits for a connection is served before one that holds more, and nobody holds all of them.
package pools

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Purpose describes a pool.
type Purpose struct {
	Name string // for metrics
	Role string // that its connections have
	Max  int    // connections
	// PerTenant is how many connections a tenant can hold; 0 means that the pool does not serve tenants.
	PerTenant int
	// Rest is how long a tenant waits after a transaction, as a multiple of the transaction's duration.
	Rest float64
	// Settings are parameters of Postgres.
	Settings map[string]string
}

// Pool is the connections for one purpose.
type Pool struct {
	Purpose
	*pgxpool.Pool
	// Hinted is called after a commit of hints.
	Hinted func()
	turns  *turns
}

// Open prepares a pool. It connects when it is used.
func Open(ctx context.Context, databaseURL string, p Purpose) (*Pool, error) {
	dsn, err := WithRole(databaseURL, p.Role)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.MaxConns = int32(p.Max) //nolint:gosec // a small number
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.DialFunc = dial()
	set := cfg.ConnConfig.RuntimeParams
	set["application_name"] = "husk " + p.Name
	// A request that waits for a lock must not hold a connection indefinitely.
	set["statement_timeout"] = "30s"
	set["idle_in_transaction_session_timeout"] = "60s"
	set["jit"] = "off" // our statements are short: compiling one takes longer than running it
	maps.Copy(set, p.Settings)
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres as %s: %w", p.Role, err)
	}
	return &Pool{Purpose: p, Pool: pool, turns: newTurns(p)}, nil
}

// Begin runs f in a transaction of this tenant, when it is the tenant's turn. It commits unless f returns an error or this is a dry run.
func (p *Pool) Begin(ctx context.Context, tenant uuid.UUID, f func(pgx.Tx) error) error {
	if p.PerTenant > 0 {
		if err := p.turns.enter(ctx, tenant); err != nil {
			return err
		}
		defer p.turns.leave(tenant, time.Now())
	}
	if IsDryRun(ctx) {
		f = rolledBack(f)
	}
	if err := pgx.BeginFunc(ctx, p.Pool, f); !errors.Is(err, errDryRun) {
		return err
	}
	return nil
}

// WithRole puts the role into the database URL, keeping the password.
func WithRole(raw, role string) (string, error) {
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

// Connections is the state of one pool.
type Connections struct {
	Pool             string
	InUse, Idle, Max int32
	Full             Waits // of transactions for which there was no connection
	Share            Waits // of transactions whose tenant already held its share
}

// State returns the state of the pool. It sends nothing to Postgres.
func (p *Pool) State() Connections {
	stat := p.Stat()
	full, share := p.turns.waits()
	full.Count, full.Total = full.Count+stat.EmptyAcquireCount(), full.Total+stat.EmptyAcquireWaitTime()
	return Connections{Pool: p.Name, InUse: stat.AcquiredConns(), Idle: stat.IdleConns(), Max: stat.MaxConns(), Full: full, Share: share}
}
