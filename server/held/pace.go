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
	return h.pace(h.paces, tenant, h.streamRate)
}

// PaceTransfers is Pace for imports and exports of volumes, which have a rate of their own.
func (h *Held) PaceTransfers(tenant uuid.UUID) (wait func(ctx context.Context, bytes int) error, done func()) {
	return h.pace(h.transfers, tenant, h.transferRate)
}

func (h *Held) pace(paces map[uuid.UUID]*pace, tenant uuid.UUID, bytesPerSecond int) (wait func(ctx context.Context, bytes int) error, done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := paces[tenant]
	if p == nil {
		p = &pace{limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), max(1, bytesPerSecond/paceBursts))}
		paces[tenant] = p
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
			delete(paces, tenant)
		}
	}
}

// paceBursts is the number of bursts in a second's bytes.
const paceBursts = 100
