// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
)

// backoff doubles a jittered wait from 0.1 s to 10 s.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) sleep(ctx context.Context) {
	b.next = min(max(2*b.next, backoffMin), backoffMax)
	select {
	case <-ctx.Done():
	case <-time.After(b.next/2 + rand.N(b.next/2)): //nolint:gosec // jitter needs no secrecy
	}
}
