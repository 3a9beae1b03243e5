// SPDX-License-Identifier: Apache-2.0

// Package election decides which server leads: the one that holds a lease in a row of Postgres, by Postgres' clock.
package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/route"
	"husk/store/db"
)

const (
	// lease is how long nobody else can lead after a renewal. Another server leads at most this long, and a second, after the leader hangs or vanishes.
	lease = 10 * time.Second
	// renewEvery is how often the leader renews its lease.
	renewEvery = 2 * time.Second
	// giveUp is how long after the last renewal the leader stops its work. It counts from sending, and leaves time for the work to end.
	giveUp = 7 * time.Second
	// callTimeout limits one renewal.
	callTimeout = 3 * time.Second
)

// Lead waits until this process leads. Then it calls work with the new epoch and a context that ends with the leadership, and returns when work
// returns. The epoch guards against a leader that has not noticed that it lost its lease, because it was suspended.
func Lead(ctx context.Context, dsn, holder string, work func(ctx context.Context, epoch int64)) error {
	s, err := open(dsn)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	var epoch int64
	var renewed time.Time
	for {
		renewed = time.Now()
		err := s.do(ctx, func(ctx context.Context, q *db.Queries) (err error) {
			epoch, err = q.TakeLeadership(ctx, db.TakeLeadershipParams{Holder: holder, LeaseSeconds: lease.Seconds()})
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("become the leader: %w", err)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx, epoch)
	}()
	err = s.keep(ctx, epoch, renewed, done)
	cancel()
	<-done
	if err == nil || errors.Is(err, context.Canceled) { // the next leader need not wait
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer stop()
		_ = s.do(last, func(ctx context.Context, q *db.Queries) error { return q.EndLeadership(ctx, epoch) }) //nolint:errcheck // otherwise it expires
	}
	return err
}

// keep renews the lease until work is done, ctx ends, or the lease is lost.
func (s *session) keep(ctx context.Context, epoch int64, renewed time.Time, done <-chan struct{}) error {
	var failure error
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(renewed.Add(giveUp))):
			return errors.Join(errors.New("no longer the leader: the lease was not renewed in time"), failure)
		case <-time.After(renewEvery):
		}
		sent := time.Now()
		var rows int64
		failure = s.do(ctx, func(ctx context.Context, q *db.Queries) (err error) {
			rows, err = q.RenewLeadership(ctx, db.RenewLeadershipParams{Epoch: epoch, LeaseSeconds: lease.Seconds()})
			return err
		})
		switch {
		case failure != nil:
		case rows == 0:
			return errors.New("no longer the leader: another server leads")
		default:
			renewed = sent
		}
	}
}

// session is the leader's own connection, so that renewals wait for nothing else. It is opened again when it breaks.
type session struct {
	cfg  *pgx.ConnConfig
	conn *pgx.Conn
}

func open(dsn string) (*session, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.RuntimeParams["application_name"] = "husk-leader"
	cfg.DialFunc = route.Dialer(callTimeout / 2).DialContext
	return &session{cfg: cfg}, nil
}

func (s *session) do(ctx context.Context, f func(context.Context, *db.Queries) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if s.conn == nil || s.conn.IsClosed() {
		if s.conn, err = pgx.ConnectConfig(ctx, s.cfg); err != nil {
			s.conn = nil
			return fmt.Errorf("connect to postgres to lead: %w", err)
		}
	}
	if err = f(ctx, db.New(s.conn)); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		_ = s.conn.PgConn().Conn().Close() //nolint:errcheck // closing it politely would wait for Postgres
		s.conn = nil
	}
	return err
}

func (s *session) close(ctx context.Context) {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_ = s.conn.Close(ctx) //nolint:errcheck // it has served its purpose
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
