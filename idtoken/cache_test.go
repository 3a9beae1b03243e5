// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/egress"
)

const (
	wellKnown = "/.well-known/openid-configuration"
	keysPath  = "/keys"
)

func TestUnknownKeysCauseFewRequestsToTheIssuer(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "1", "EdDSA")
	i := startIssuer(t, s)
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	flood := func() {
		var all sync.WaitGroup
		for n := range 1000 {
			all.Go(func() {
				forged := s
				forged.id = fmt.Sprint("unknown", n)
				_, err := v.Verify(t.Context(), i.url, client, forged.sign(t, forged.header(), with(i.url, c.now(), nil)))
				wantReason(t, "unknown key", err, "does not publish")
			})
		}
		all.Wait()
	}
	flood()
	if d, k := i.count(wellKnown), i.count(keysPath); d != 1 || k != 1 {
		t.Errorf("the first tokens cause %d requests for discovery and %d for keys", d, k)
	}
	c.advance(askInterval)
	flood()
	if d, k := i.count(wellKnown), i.count(keysPath); d != 1 || k != 2 {
		t.Errorf("after more tokens there were %d requests for discovery and %d for keys", d, k)
	}
}

func TestANewKeyIsFoundAndAnOldOneDropped(t *testing.T) {
	t.Parallel()
	before, after := newSigner(t, "before", "EdDSA"), newSigner(t, "after", "EdDSA")
	i := startIssuer(t, before)
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	verify := func(s signer) error {
		_, err := v.Verify(t.Context(), i.url, client, s.sign(t, s.header(), with(i.url, c.now(), nil)))
		return err
	}
	if err := verify(before); err != nil {
		t.Fatal(err)
	}
	i.publish(after)
	wantReason(t, "a new key at once", verify(after), "does not publish")
	if err := verify(before); err != nil {
		t.Errorf("the old key while it is cached: %v", err)
	}
	c.advance(askInterval)
	if err := verify(after); err != nil {
		t.Errorf("the new key: %v", err)
	}
	wantReason(t, "the old key", verify(before), "does not publish")
	if n := i.count(wellKnown); n != 1 {
		t.Errorf("there were %d requests for discovery", n)
	}
}

func TestCachedKeysAreUsedForAnHourWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "1", "EdDSA")
	i := startIssuer(t, s)
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	verify := func(s signer) error {
		_, err := v.Verify(t.Context(), i.url, client, s.sign(t, s.header(), with(i.url, c.now(), nil)))
		return err
	}
	down := func(status int) { i.change(func() { i.status = status }) }
	if err := verify(s); err != nil {
		t.Fatal(err)
	}
	down(http.StatusServiceUnavailable)
	c.advance(keysUsable - time.Second)
	if err := verify(s); err != nil {
		t.Errorf("within the hour: %v", err)
	}
	unknown := s
	unknown.id = "unknown"
	if down, ok := errors.AsType[*IssuerError](verify(unknown)); !ok || down.Misconfigured || !strings.Contains(down.Reason, "status 503") {
		t.Errorf("a key that may be new, while the issuer is down: %v", verify(unknown))
	}
	before := i.count(keysPath)
	c.advance(time.Second)
	for range 10 {
		if down, ok := errors.AsType[*IssuerError](verify(s)); !ok || down.Misconfigured || !strings.Contains(down.Reason, "responds with status 503") {
			t.Errorf("after the hour: %v", verify(s))
		}
	}
	if n := i.count(keysPath) - before; n > 1 {
		t.Errorf("an issuer that is down got %d requests in a second", n)
	}
	down(0)
	c.advance(askInterval)
	if err := verify(s); err != nil {
		t.Errorf("when the issuer is up again: %v", err)
	}
}

func TestKeysAtANewURLAreFound(t *testing.T) {
	t.Parallel()
	s, moved := newSigner(t, "1", "EdDSA"), newSigner(t, "2", "EdDSA")
	i := startIssuer(t, s)
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	if err := v.Check(t.Context(), i.url); err != nil {
		t.Fatal(err)
	}
	i.publish(moved)
	i.change(func() { i.keysPath = "/moved" })
	verify := func() error {
		c.advance(askInterval)
		_, err := v.Verify(t.Context(), i.url, client, moved.sign(t, moved.header(), with(i.url, c.now(), nil)))
		return err
	}
	if _, ok := errors.AsType[*IssuerError](verify()); !ok {
		t.Error("the keys were found at the old URL")
	}
	if err := verify(); err != nil {
		t.Errorf("at the new URL: %v", err)
	}
}

func TestACallerThatCancelsDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "1", "EdDSA")
	i := startIssuer(t, s)
	v := New(Config{Egress: local})
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	i.change(func() { i.onAsk = cancel })
	raw := s.sign(t, s.header(), with(i.url, time.Now(), nil))
	if _, err := v.Verify(cancelled, i.url, client, raw); err != nil {
		t.Errorf("the caller that cancels during the request: %v", err)
	}
	if _, err := v.Verify(t.Context(), i.url, client, raw); err != nil {
		t.Errorf("the next caller: %v", err)
	}
	src := v.source("https://issuer.example.com")
	src.turn <- struct{}{} // another caller's request to the issuer is still running
	if _, err := v.keys(cancelled, src, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that cancels while it waits: %v", err)
	}
}

func TestTheNumberOfCachedIssuersIsLimited(t *testing.T) {
	t.Parallel()
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	for n := range maxIssuers + 10 {
		c.advance(time.Second)
		v.source(fmt.Sprintf("https://issuer%d.example.com", n))
		v.source("https://issuer0.example.com")
	}
	if n := len(v.sources); n != maxIssuers {
		t.Errorf("%d issuers are cached", n)
	}
	if v.sources["https://issuer0.example.com"] == nil || v.sources["https://issuer1.example.com"] != nil {
		t.Error("the issuer that was dropped is not the least recently used one")
	}
}

func TestCheckReturnsTheReasonWhyAnIssuerIsInvalid(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "1", "EdDSA")
	closed := httptest.NewServer(nil)
	closed.Close()
	other := startIssuer(t, s)
	made := func(change func(*issuer)) string {
		i := startIssuer(t, s)
		i.change(func() { change(i) })
		return i.url
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(other.url, "http://"), ":")
	for what, tt := range map[string]struct {
		issuer        string
		want          string
		misconfigured bool
	}{
		"no URL":              {"::", "not a URL", true},
		"nothing":             {"", "not a URL", true},
		"another scheme":      {"file:///etc/passwd", "not a URL that begins with https", true},
		"a user":              {"https://user@issuer.example.com", "a user, a query", true},
		"a query":             {"https://issuer.example.com/?a=b", "a user, a query", true},
		"a fragment":          {"https://issuer.example.com/#", "a user, a query", true},
		"too long":            {"https://issuer.example.com/" + strings.Repeat("x", 600), "longer than 512", true},
		"a forbidden address": {"https://10.0.0.5", "does not connect to", true},
		"metadata":            {"http://169.254.169.254/latest", "does not connect to", true},
		"another loopback":    {"http://127.0.0.2:" + port, "does not connect to", true},
		"a closed port":       {closed.URL, "does not respond", false},
		"no discovery":        {other.url + "/nothing", "status 404", true},
		"of another issuer":   {made(func(i *issuer) { i.document = `{"issuer":"` + other.url + `","jwks_uri":"` + other.url + `/keys"}` }), "exactly equal", true},
		"a slash too many":    {other.url + "/", "exactly equal", true},
		"not JSON":            {made(func(i *issuer) { i.document = "<html>" }), "not valid JSON", true},
		"ambiguous":           {made(func(i *issuer) { i.document = `{"issuer":"` + i.url + `","issuer":"x"}` }), "not valid JSON", true},
		"huge discovery":      {made(func(i *issuer) { i.document = strings.Repeat(" ", 2<<20) }), "longer than", true},
		"no URL of keys":      {made(func(i *issuer) { i.document = `{"issuer":"` + i.url + `"}` }), "jwks_uri", true},
		"keys inside": {made(func(i *issuer) {
			i.document = `{"issuer":"` + i.url + `","jwks_uri":"http://127.0.0.2:` + port + `/keys"}`
		}), "does not connect to", true},
		"keys in a file":           {made(func(i *issuer) { i.document = `{"issuer":"` + i.url + `","jwks_uri":"file:///etc/passwd"}` }), "jwks_uri", true},
		"no keys":                  {made(func(i *issuer) { i.keys = `{"keys":[]}` }), "are not valid", true},
		"keys that are not a set":  {made(func(i *issuer) { i.keys = `[]` }), "are not valid", true},
		"too many keys":            {made(func(i *issuer) { i.keys = `{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}` }), "are not valid", true},
		"an error instead of keys": {made(func(i *issuer) { i.status = http.StatusInternalServerError }), "status 500", false},
		"keys forbidden":           {made(func(i *issuer) { i.status = http.StatusForbidden }), "status 403", true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			err := New(Config{Egress: local}).Check(t.Context(), tt.issuer)
			got, ok := errors.AsType[*IssuerError](err)
			if !ok || got.Misconfigured != tt.misconfigured || !strings.Contains(got.Reason, tt.want) {
				t.Errorf("got %+v (%v), want %q", got, err, tt.want)
			}
		})
	}
	// An issuer with a forbidden address got no request.
	if n := other.count(keysPath); n != 0 {
		t.Errorf("there were %d requests for keys", n)
	}
}

func TestErrorsDoNotRevealTheAddressOfAnIssuersName(t *testing.T) {
	t.Parallel()
	name := "https://issuer.example.com"
	inside := unreachable(name, &egress.RefusedError{Host: "issuer.example.com", Why: "a private address"})
	outside := unreachable(name, errors.New("no such host"))
	a, _ := errors.AsType[*IssuerError](inside)
	b, _ := errors.AsType[*IssuerError](outside)
	if a.Reason != b.Reason || a.Misconfigured != b.Misconfigured {
		t.Errorf("the error for a forbidden address is %+v, and for an unknown name %+v", a, b)
	}
}
