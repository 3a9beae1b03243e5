// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// limiter is a token bucket that all servers share. The bucket is in Postgres. Each server takes a few tokens at a time, so that a busy
// key costs a few statements a second and an idle one none. All servers together stay within the limit.
type limiter struct {
	take func(ctx context.Context, key string) (granted, perSecond float64, err error)

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket holds the tokens that this server has taken for one key.
type bucket struct {
	mu      sync.Mutex
	left    float64 // negative: requests that cost more than was taken for them
	takenAt time.Time
	emptyTo time.Time // until then the shared bucket is empty
	openTo  time.Time // until then all requests pass, because the shared bucket could not be reached
}

const (
	bucketKept    = time.Second // unused tokens are discarded after this time
	bucketsKept   = 10_000
	slowestRefill = time.Second
	takeTimeout   = time.Second // other requests with the same key wait meanwhile
	openFor       = time.Second
	longestDebt   = 60 // seconds that requests of the past can delay the next one
)

func newTenantLimiter(s store.Control) *limiter {
	return &limiter{buckets: map[string]*bucket{}, take: func(ctx context.Context, key string) (float64, float64, error) {
		tenant, err := uuid.Parse(key)
		if err != nil {
			return 0, 0, err
		}
		granted, perSecond, err := s.TakeTenantTokens(ctx, tenant)
		return granted, float64(perSecond), err
	}}
}

// OutboundPerSecond is how many requests per second this server sends for a tenant to registries and OIDC issuers that the tenant names. The limit
// prevents tenants from using the server to attack others.
const OutboundPerSecond = 5

// newLimiter returns a limiter that is independent of quotas. Bursts are five times the rate.
func newLimiter(s store.Control, what string, perSecond float64) *limiter {
	return &limiter{buckets: map[string]*bucket{}, take: func(ctx context.Context, key string) (float64, float64, error) {
		granted, err := s.TakeTokens(ctx, what+":"+key, perSecond, 5*perSecond, math.Ceil(perSecond/4))
		return granted, perSecond, err
	}}
}

// addressKey returns the key for an address. IPv6 addresses count by /64, which is what one customer gets.
func addressKey(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return "unknown" // all requests without an address share one bucket
	}
	return p.String()
}

// allow takes one token from the key's bucket. If the bucket is empty, it returns how long to wait.
func (l *limiter) allow(ctx context.Context, key string) (wait time.Duration, err error) {
	b := l.bucket(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(b.takenAt) > bucketKept {
		b.left = min(b.left, 0)
	}
	if b.left >= 1 {
		b.left--
		return 0, nil
	}
	if now.Before(b.openTo) {
		return 0, nil
	}
	if now.Before(b.emptyTo) {
		return b.emptyTo.Sub(now), nil
	}
	// Without the caller's cancellation: clients that hang up on purpose must not open the limit for others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeTimeout)
	defer cancel()
	var perSecond float64
	for b.left < 1 {
		var granted float64
		if granted, perSecond, err = l.take(ctx, key); err != nil {
			b.openTo = time.Now().Add(openFor)
			return 0, err
		}
		b.takenAt = now
		b.left = max(b.left, -longestDebt*perSecond) + granted
		if granted < 1 {
			break
		}
	}
	if b.left >= 1 {
		b.left--
		return 0, nil
	}
	wait = slowestRefill
	if perSecond > 0 {
		wait = min(time.Duration(float64(time.Second)/perSecond), slowestRefill)
	}
	b.emptyTo = now.Add(wait)
	return wait, nil
}

// charge takes more tokens for a request that was allowed. The next ones pay for it.
func (l *limiter) charge(key string, tokens float64) {
	b := l.bucket(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left -= tokens
}

func (l *limiter) bucket(key string) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.buckets[key]; ok {
		return b
	}
	if len(l.buckets) >= bucketsKept { // the next request with a discarded key asks Postgres again
		clear(l.buckets)
	}
	b := &bucket{}
	l.buckets[key] = b
	return b
}

// RateLimitedError is a problem that says how long to wait.
type RateLimitedError struct{ wait time.Duration }

// Error implements error.
func (r *RateLimitedError) Error() string { return "too many requests" }

// As converts it to a problem.
func (r *RateLimitedError) As(target any) bool {
	shown, ok := target.(**husk.Error)
	if ok {
		*shown = husk.Errorf(husk.CodeRateLimited, "", "too many requests; retry after %d s", r.RetryAfter())
	}
	return ok
}

// RetryAfter returns the header of that name: whole seconds, at least one.
func (r *RateLimitedError) RetryAfter() int { return int(math.Max(1, math.Ceil(r.wait.Seconds()))) }

// LimitTenant counts a request of a tenant, and refuses it if there are too many. Codes: rate_limited.
func (a *Auth) LimitTenant(ctx context.Context, tenant store.ID) error {
	return a.limit(ctx, a.tenants, tenant.String())
}

// bytesPerToken is how many bytes of bodies cost as much as a request.
const bytesPerToken = 16 << 10

// ChargeTenant counts the bytes of a request's body and response like further requests: reading, checking and writing them costs more than
// everything else.
func (a *Auth) ChargeTenant(tenant store.ID, bytes int) {
	if tokens := bytes / bytesPerToken; tokens > 0 {
		a.tenants.charge(tenant.String(), float64(tokens))
	}
}

// streamTokens is how many requests opening a stream costs as much as: several transactions and a TLS handshake with the node's agent.
const streamTokens = 5

// ChargeStream counts a request that opens a stream or a session like further requests.
func (a *Auth) ChargeStream(tenant store.ID) { a.tenants.charge(tenant.String(), streamTokens-1) }

// LimitAddress counts a login, or a request whose token does not verify, and refuses it if there are too many. Codes: rate_limited.
func (a *Auth) LimitAddress(ctx context.Context, address netip.Addr) error {
	return a.limit(ctx, a.addresses, addressKey(address))
}

// LimitOutbound counts a request that this server sends to another service for a tenant, and refuses it if there are too many. Codes: rate_limited.
func (a *Auth) LimitOutbound(ctx context.Context, tenant store.ID) error {
	return a.limit(ctx, a.outbound, tenant.String())
}

// limit refuses a request if there are too many. If the bucket cannot be reached, it lets the request pass: the handler needs Postgres too, and
// reports the error.
func (a *Auth) limit(ctx context.Context, l *limiter, key string) error {
	wait, err := l.allow(ctx, key)
	if err != nil {
		a.log.Warn("the rate limit could not be checked; the request is allowed", "error", err)
		return nil
	}
	if wait == 0 {
		return nil
	}
	a.limited.Inc()
	return &RateLimitedError{wait}
}
