// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"husk/dev/devtest"
	"husk/store"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// open returns a store that is connected to the database as a server is.
func open(t *testing.T, url devtest.URL) store.Control {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Control()
}

// All servers share the limit for login attempts from one address. It slows down an attacker who
// guesses secrets.
func TestLoginsAreCountedByAddressForAllServers(t *testing.T) {
	t.Parallel()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	const perSecond = 5
	one, two := newLimiter(open(t, url), "address", perSecond), newLimiter(open(t, url), "address", perSecond)
	began, passed := time.Now(), 0
	for i := range 300 {
		l := []*limiter{one, two}[i%2]
		wait, err := l.allow(t.Context(), "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 {
			passed++
		}
	}
	// The limit is the burst and the tokens that were added since. A limiter takes the tokens of a
	// quarter of a second at a time.
	if most := 5*perSecond + int(perSecond*time.Since(began).Seconds()) + 1; passed > most || passed < 5*perSecond-2 {
		t.Errorf("%d simultaneous logins passed, want at most %d", passed, most)
	}
	if wait, err := one.allow(t.Context(), "192.0.2.2"); wait != 0 || err != nil {
		t.Errorf("another address waits %s: %v", wait, err)
	}
}

func TestAddressesInOneIPv6NetworkShareALimit(t *testing.T) {
	t.Parallel()
	if a, b := addressKey(netip.MustParseAddr("2001:db8:1:2::3")), addressKey(netip.MustParseAddr("2001:db8:1:2:ffff::")); a != b {
		t.Errorf("addresses of one network have the different limits %s and %s", a, b)
	}
}

func TestLargeBodiesCountLikeSeveralRequests(t *testing.T) {
	t.Parallel()
	full := 20.0 // tokens in the shared bucket, which is not refilled
	l := &limiter{buckets: map[string]*bucket{}, take: func(context.Context, string) (float64, float64, error) {
		granted := min(full, 5)
		full -= granted
		return granted, 10, nil
	}}
	allowed := func() bool {
		wait, err := l.allow(t.Context(), "tenant")
		if err != nil {
			t.Fatal(err)
		}
		l.bucket("tenant").emptyTo = time.Time{} // as if the time had passed
		return wait == 0
	}
	if !allowed() {
		t.Fatal("the first request is refused")
	}
	l.charge("tenant", 12) // 13 of 20 tokens are used
	for i := range 7 {
		if !allowed() {
			t.Fatalf("request %d after a large one is refused; 7 tokens are left", i+1)
		}
	}
	if allowed() {
		t.Error("a large request costs nothing")
	}
	l.charge("tenant", 1e9)
	full = 1e9
	for range 60*10/5 + 1 {
		if allowed() {
			return
		}
	}
	if !allowed() {
		t.Error("a very large request delays the next ones for more than a minute")
	}
}
