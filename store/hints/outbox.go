// SPDX-License-Identifier: Apache-2.0

package hints

import (
	"context"
	"log/slog"
	"time"
)

// Outbox sends the hints that committed transactions have left in the table outbox, with one notification of Postgres for all of them. A
// transaction that notified by itself would take a lock of the whole Postgres at its commit.
type Outbox struct{ wake chan struct{} }

const (
	// sendEvery is the shortest time between two notifications of a server.
	sendEvery = 20 * time.Millisecond
	// sweepEvery is how often a server looks for hints of servers that ended before they sent them.
	sweepEvery = time.Second
)

// NewOutbox makes an outbox.
func NewOutbox() *Outbox { return &Outbox{make(chan struct{}, 1)} }

// Wake says that this server has committed a transaction with hints.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run sends hints until ctx ends. send sends what is in the table at the moment.
func (o *Outbox) Run(ctx context.Context, send func(ctx context.Context) error, log *slog.Logger) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-sweep.C:
		}
		if err := send(ctx); err != nil && ctx.Err() == nil {
			log.Warn("could not send hints; watches, loops and agents notice changes later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sendEvery):
		}
	}
}
