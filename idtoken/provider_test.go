// SPDX-License-Identifier: Apache-2.0

package idtoken_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"husk/egress"
	"husk/idtoken"
	"husk/test/oidcprovider"
)

// The tokens are those of a real provider, which users get by logging in.
func TestTokensOfARealProvider(t *testing.T) {
	t.Parallel()
	p := oidcprovider.Start(t)
	var later atomic.Int64
	v := idtoken.New(idtoken.Config{
		Egress: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Now:    func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	})
	logIn := func(u oidcprovider.User) string {
		t.Helper()
		raw, err := oidcprovider.IDToken(t.Context(), p.Issuer, oidcprovider.Client, u)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if err := v.Check(t.Context(), p.Issuer); err != nil {
		t.Fatal(err)
	}
	old := logIn(oidcprovider.Developer)
	c, err := v.Verify(t.Context(), p.Issuer, oidcprovider.Client, old)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject != oidcprovider.Developer.Subject || c.Email != oidcprovider.Developer.Email || !c.EmailVerified || c.Raw["preferred_username"] != "developer" {
		t.Errorf("claims %+v", c)
	}
	_, err = v.Verify(t.Context(), p.Issuer, oidcprovider.OtherClient, old)
	if refused, ok := errors.AsType[*idtoken.RefusedError](err); !ok || !strings.Contains(refused.Reason, "another client") {
		t.Errorf("for another client: %v", err)
	}

	// The provider gets a new key. The first token signed with it causes a request for the keys.
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	before := p.Requests("/keys")
	later.Store(int64(11 * time.Second))
	rotated := logIn(oidcprovider.Stranger)
	for _, raw := range []string{rotated, old, rotated} {
		if _, err := v.Verify(t.Context(), p.Issuer, oidcprovider.Client, raw); err != nil {
			t.Errorf("after the rotation: %v", err)
		}
	}
	if n := p.Requests("/keys") - before; n != 1 {
		t.Errorf("a rotation causes %d requests", n)
	}

	// The provider goes down. Cached keys can be used for a while, but a verifier without cached
	// keys cannot verify.
	p.SetDown(true)
	later.Store(int64(30 * time.Minute))
	if _, err := v.Verify(t.Context(), p.Issuer, oidcprovider.Client, rotated); err != nil {
		t.Errorf("while it is down: %v", err)
	}
	fresh := idtoken.New(idtoken.Config{Egress: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if _, err := fresh.Verify(t.Context(), p.Issuer, oidcprovider.Client, rotated); err == nil {
		t.Error("a verifier without cached keys accepted a token")
	} else if down, ok := errors.AsType[*idtoken.IssuerError](err); !ok || down.Misconfigured {
		t.Errorf("without keys: %v", err)
	}
	p.SetDown(false)
	later.Store(int64(2 * time.Hour))
	_, err = v.Verify(t.Context(), p.Issuer, oidcprovider.Client, rotated)
	if refused, ok := errors.AsType[*idtoken.RefusedError](err); !ok || !strings.Contains(refused.Reason, "expired") {
		t.Errorf("two hours later: %v", err)
	}
}
