// SPDX-License-Identifier: Apache-2.0

// Package election decides which server leads: the one whose session holds an advisory lock of Postgres.
package election

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/store/db"
)

// leaderLock is the key of the advisory lock that the leading server holds.
const leaderLock = 7207102

// leaderSession makes Postgres end the session of a leader within ten seconds after its machine has vanished. By default, Postgres would wait
// for TCP, which takes two hours, and nobody could lead meanwhile. The settings are those of
// https://www.postgresql.org/docs/current/runtime-config-connection.html.
var leaderSession = map[string]string{
	"application_name":    "husk-leader",
	"tcp_keepalives_idle": "3", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "5", // seconds; for a session without traffic
	"tcp_user_timeout": "8000", // milliseconds; for data that is not acknowledged
}

// Lead waits until this process leads, with a session of its own. Then it calls work with the new epoch and a context that ends with the
// leadership, and returns when work returns. The epoch guards against a leader that has not noticed that it lost its session.
func Lead(ctx context.Context, dsn, holder string, work func(ctx context.Context, epoch int64)) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("database url: %w", err)
	}
	maps.Copy(cfg.RuntimeParams, leaderSession)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to postgres to lead: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var got bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", leaderLock).Scan(&got); err != nil {
			return fmt.Errorf("take the leader's lock: %w", err)
		}
		if got {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	epoch, err := db.New(conn).TakeLeadership(ctx, holder)
	if err != nil {
		return fmt.Errorf("become the leader: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx, epoch)
	}()
	defer func() { cancel(); <-done }()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		ping, stop := context.WithTimeout(ctx, 5*time.Second)
		err := conn.Ping(ping)
		stop()
		if err != nil {
			_ = conn.PgConn().Conn().Close() //nolint:errcheck // the session is lost; closing it politely would wait for Postgres
			return fmt.Errorf("no longer the leader: %w", err)
		}
	}
}
