// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"time"
)

// watchNetwork keeps the network's rules in place until ctx ends.
func (a *Agent) watchNetwork(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.net.Watch(ctx); err != nil {
			a.log.Error("cannot watch the network rules for changes; retrying", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}
