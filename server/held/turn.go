// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"

	"github.com/google/uuid"
)

// turn lets one request of a tenant at a time check and store a large body, because that keeps a processor busy.
type turn struct {
	free  chan struct{}
	users int
}

// LargeBody is the size in bytes from which bodies take turns.
const LargeBody = 64 << 10

// Turn waits until no other request of the tenant has the turn. Call done when the request has ended.
func (h *Held) Turn(ctx context.Context, tenant uuid.UUID) (done func(), err error) {
	h.mu.Lock()
	t := h.turns[tenant]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		h.turns[tenant] = t
	}
	t.users++
	h.mu.Unlock()
	leave := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(h.turns, tenant)
		}
	}
	select {
	case t.free <- struct{}{}:
		return func() { <-t.free; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
