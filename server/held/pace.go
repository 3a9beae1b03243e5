// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

// pace is the rate at which one tenant's watches, logs and sessions may pass, while it has any.
type pace struct {
	limiter *rate.Limiter
	users   int
}

// Pace returns a function that waits until so many bytes of a tenant's watches, logs and sessions may pass. All of a tenant's streams share the
// rate. Call done when the stream ends.
func (h *Held) Pace(tenant uuid.UUID) (wait func(ctx context.Context, bytes int) error, done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.paces[tenant]
	if p == nil {
		p = &pace{limiter: rate.NewLimiter(rate.Limit(h.streamRate), max(1, h.streamRate/paceBursts))}
		h.paces[tenant] = p
	}
	p.users++
	wait = func(ctx context.Context, bytes int) error {
		for bytes > 0 {
			n := min(bytes, p.limiter.Burst())
			if err := p.limiter.WaitN(ctx, n); err != nil {
				return err
			}
			bytes -= n
		}
		return nil
	}
	return wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(h.paces, tenant)
		}
	}
}

// paceBursts is the number of bursts in a second's bytes.
const paceBursts = 100
