// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"husk/cli/config"
	"husk/client"
	"husk/client/oidc"
)

// tokens gets tokens from the cache, and otherwise with the credentials of the target.
type tokens struct {
	target Target
	api    *client.Client // without a token
	now    func() time.Time
}

// Token implements client.TokenSource.
func (t *tokens) Token(ctx context.Context, refused string) (client.Token, error) {
	if token, ok := t.cached(refused); ok {
		return token, nil
	}
	token, err := t.request(ctx, refused)
	if err != nil {
		return client.Token{}, t.target.explain(err)
	}
	t.target.Keep(token)
	return token, nil
}

func (t *tokens) cached(refused string) (client.Token, bool) {
	if t.target.Name == "" {
		return client.Token{}, false
	}
	c, ok := t.target.store.Token(t.target.Name, t.target.fingerprint(), t.now())
	return client.Token{Value: c.Value, ExpiresAt: c.ExpiresAt}, ok && c.Value != refused
}

// Keep puts a token into the cache.
func (t Target) Keep(token client.Token) {
	if t.Name != "" {
		cached := config.Token{For: t.fingerprint(), Value: token.Value, ExpiresAt: token.ExpiresAt}
		_ = t.store.KeepToken(t.Name, cached) //nolint:errcheck // without a cache each call gets its own token
	}
}

// NewTarget returns the target of a context that a login has just made.
func NewTarget(name string, c config.Context, store config.Store) Target {
	return Target{name, c, store}
}

// fingerprint identifies the login that a cached token was made for, without revealing it.
func (t Target) fingerprint() string {
	parts := []string{t.Context.API, t.Context.Tenant}
	switch {
	case t.Context.APIKey != nil:
		parts = append(parts, "key", t.Context.APIKey.ClientID)
	case t.Context.OIDC != nil: // not the refresh token, which changes with every use
		parts = append(parts, "oidc", t.Context.OIDC.Issuer, t.Context.OIDC.ClientID)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// request gets a new token, or one that another process has cached in the meantime.
func (t *tokens) request(ctx context.Context, refused string) (client.Token, error) {
	if key := t.target.Context.APIKey; key != nil {
		return t.api.TokenForAPIKey(ctx, key.ClientID, key.ClientSecret)
	}
	id, cached, err := t.renew(ctx, refused)
	if err != nil || cached.Value != "" {
		return cached, err
	}
	return t.api.TokenForIDToken(ctx, id, t.target.Context.Tenant)
}

// renew gets an ID token with the refresh token. An issuer may accept each refresh token only once, so one process at a time does it, and
// stores the next refresh token before anything else can fail.
func (t *tokens) renew(ctx context.Context, refused string) (id string, cached client.Token, err error) {
	err = t.target.store.Update(func(c *config.Config) error {
		var ok bool
		if cached, ok = t.cached(refused); ok {
			return nil
		}
		cached = client.Token{}
		context, ok := c.Contexts[t.target.Name]
		if !ok || context.OIDC == nil || context.OIDC.RefreshToken == "" {
			return &client.LoginError{Detail: "the login has ended"}
		}
		issuer, err := oidc.Discover(ctx, t.api.HTTPClient(), context.OIDC.Issuer, context.OIDC.ClientID)
		if err != nil {
			return &client.UnreachableError{Err: err}
		}
		got, err := issuer.Renew(ctx, context.OIDC.RefreshToken)
		if refusal, ok := errors.AsType[*oidc.RefusedError](err); ok {
			return &client.LoginError{Detail: "the login has ended: " + refusal.Error()}
		}
		if err != nil {
			return &client.UnreachableError{Err: err}
		}
		id = got.ID
		renewed := *context.OIDC
		renewed.RefreshToken = got.Refresh
		context.OIDC = &renewed
		c.Contexts[t.target.Name] = context
		return nil
	})
	return id, cached, err
}

// explain adds what to do about a login that does not work.
func (t Target) explain(err error) error {
	refused, ok := errors.AsType[*client.LoginError](err)
	switch {
	case !ok:
		return err
	case t.Name == "":
		return &client.LoginError{Code: refused.Code, Detail: refused.Detail + "; check HUSK_CLIENT_ID and HUSK_CLIENT_SECRET"}
	default:
		return &client.LoginError{Code: refused.Code, Detail: refused.Detail + "; to log in again, run \"husk login --context " + t.Name + "\""}
	}
}
