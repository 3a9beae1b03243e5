// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"husk/egress"
)

// Config is what a Verifier needs.
type Config struct {
	Egress egress.Policy    // where issuers may be
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // logs issuers that do not respond; nil: no log
}

// Verifier verifies ID tokens and caches the keys of their issuers. It is safe for concurrent use
// and needs no Close.
type Verifier struct {
	egress egress.Policy
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	sources map[string]*source
}

// New returns a Verifier that knows no issuer yet.
func New(cfg Config) *Verifier {
	v := &Verifier{egress: cfg.Egress, now: cfg.Now, log: cfg.Log, sources: map[string]*source{}}
	if v.now == nil {
		v.now = time.Now
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	return v
}

// Verify returns the claims of a token if the issuer made it for the client and it is valid now. It
// does not check the nonce, which is in Raw for the caller that requested the token. The issuer is
// a configured one, never the one that the token names.
//
// It returns a *RefusedError if the token is not valid, and an *IssuerError if that cannot be
// determined. It may wait for the issuer, up to twenty seconds, or until ctx ends if another caller
// is already asking.
func (v *Verifier) Verify(ctx context.Context, issuer, clientID, raw string) (Claims, error) {
	t, err := parse(raw)
	if err != nil {
		return Claims{}, err
	}
	claims, err := check(t.claims, issuer, clientID, v.now())
	if err != nil {
		return Claims{}, err
	}
	s := v.source(issuer)
	var wrong error
	for _, missing := range []bool{false, true} {
		keys, err := v.keys(ctx, s, missing)
		if err != nil {
			return Claims{}, err
		}
		known, err := t.signedBy(keys)
		if err == nil {
			return claims, nil
		}
		if wrong = err; known {
			break
		}
	}
	return Claims{}, wrong
}

// Check reads an issuer's discovery document and its keys, and caches them. It is for configuring
// an issuer: each call asks the issuer, however recent the last one was. It returns an
// *IssuerError.
func (v *Verifier) Check(ctx context.Context, issuer string) error {
	found, err := v.ask(ctx, issuer, places{})
	if err != nil {
		return err
	}
	s := v.source(issuer)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(found, v.now(), true)
	return nil
}
