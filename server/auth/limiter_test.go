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

// open returns a store that is connected to the database like a server's.
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

// An attacker who guesses secrets from one address is slowed down by all servers together.
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
	// The burst, and what has come in since; a limiter takes a fourth of a second's worth at a time.
	if most := 5*perSecond + int(perSecond*time.Since(began).Seconds()) + 1; passed > most || passed < 5*perSecond-2 {
		t.Errorf("%d logins passed at once, at most %d may", passed, most)
	}
	if wait, err := one.allow(t.Context(), "192.0.2.2"); wait != 0 || err != nil {
		t.Errorf("another address waits %s: %v", wait, err)
	}
}

func TestOneCustomersAddressesAreLimitedAsOne(t *testing.T) {
	t.Parallel()
	if a, b := addressKey(netip.MustParseAddr("2001:db8:1:2::3")), addressKey(netip.MustParseAddr("2001:db8:1:2:ffff::")); a != b {
		t.Errorf("one customer's addresses are limited as %s and %s", a, b)
	}
}
