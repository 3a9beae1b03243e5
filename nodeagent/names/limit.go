// SPDX-License-Identifier: Apache-2.0

package names

import (
	"net/netip"
	"sync"
	"time"
)

// maxClients is how many addresses have a bucket of their own. Further ones share one.
const maxClients = 4096

// limiter limits the queries of each client address with a token bucket.
type limiter struct {
	perSecond, burst float64
	now              func() time.Time

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
	others  bucket
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(perSecond int, now func() time.Time) *limiter {
	l := &limiter{perSecond: float64(perSecond), burst: 2 * float64(perSecond), now: now, buckets: map[netip.Addr]*bucket{}}
	l.others = bucket{l.burst, now()}
	return l
}

// allow reports whether a client may send a query now.
func (l *limiter) allow(client netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[client]
	if b == nil && len(l.buckets) >= maxClients && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for address, b := range l.buckets {
			if l.full(b, now) { // as if it had never been used
				delete(l.buckets, address)
			}
		}
	}
	switch {
	case b == nil && len(l.buckets) >= maxClients:
		b = &l.others
	case b == nil:
		b = &bucket{l.burst, now}
		l.buckets[client] = b
	}
	b.tokens, b.at = l.filled(b, now), now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) filled(b *bucket, now time.Time) float64 {
	return min(l.burst, b.tokens+now.Sub(b.at).Seconds()*l.perSecond)
}

func (l *limiter) full(b *bucket, now time.Time) bool { return l.filled(b, now) >= l.burst }
