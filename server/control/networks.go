// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"time"

	"husk/server/network"
	"husk/store"
)

// networks brings OVN in line with Postgres.
type networks struct {
	store      store.Control
	reconciler *network.Reconciler
}

// networksEvery is how long a change of a network waits at most if its hint is lost.
const networksEvery = time.Second

// pass makes what has changed, and then waits for the next change.
func (n *networks) pass(ctx context.Context, epoch int64) error {
	changed := n.store.WatchNetworks()
	defer changed.Close()
	work, done := n.store.WatchWork() // placements
	defer done()
	for {
		more, err := n.reconciler.Pass(ctx, epoch)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed.Hints():
			changed.Take()
		case <-work:
		case <-time.After(networksEvery):
		}
	}
}
