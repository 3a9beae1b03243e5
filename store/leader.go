// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/store/db"
)

// leaderLock is the key of the advisory lock that the leading server holds.
const leaderLock = 7207102

// Lead waits until this process leads. Then it calls work with the new epoch and a context that ends with the leadership, and returns when
// work returns. A session-level advisory lock elects the leader. The epoch guards against a leader that has not noticed that it lost its
// session.
func (c Control) Lead(ctx context.Context, holder string, work func(ctx context.Context, epoch int64)) error {
	dsn, err := withRole(c.cfg.URL, RoleControl)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return wrap(err, "connect to postgres to lead")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var got bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", leaderLock).Scan(&got); err != nil {
			return wrap(err, "take the leader's lock")
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
		return wrap(err, "become the leader")
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
			return wrap(err, "no longer the leader")
		}
	}
}
