package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"husk/cmd/husk/config"
	"husk/cmd/husk/oidc"
	"husk/openapi"
)

// tokenPath is where Husk exchanges credentials for tokens.
const tokenPath = "/oauth2/token" //nolint:gosec // a path, and no token

// authorizer puts a token on every request. One that the API refuses, because it was revoked or a role has changed, is replaced once.
type authorizer struct {
	next   http.RoundTripper
	tokens *tokens
}

// RoundTrip implements http.RoundTripper.
func (a authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	refused := ""
	for {
		token, err := a.tokens.token(req.Context(), refused)
		if err != nil {
			return nil, err
		}
		out := req.Clone(req.Context())
		out.Header.Set("Authorization", "Bearer "+token)
		resp, err := a.next.RoundTrip(out)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || refused != "" || !rewindable(req) {
			return resp, err
		}
		resp.Body.Close()
		refused = token
		if req, err = rewound(req); err != nil {
			return nil, err
		}
	}
}

// tokens has a token of Husk at hand: from this process, from the cache, or made anew.
type tokens struct {
	target target
	web    *http.Client
	now    func() time.Time

	mu      sync.Mutex
	current config.Token
}

func newTokens(t target, web *http.Client) *tokens {
	return &tokens{target: t, web: web, now: time.Now}
}

// token returns a token that is not the refused one.
func (t *tokens) token(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	usable := func(c config.Token) bool {
		return c.Value != "" && c.Value != refused && t.now().Before(c.ExpiresAt.Add(-5*time.Second))
	}
	if usable(t.current) {
		return t.current.Value, nil
	}
	owner := t.target.fingerprint()
	cached := func() bool {
		if t.target.name == "" {
			return false
		}
		c, ok := t.target.store.Token(t.target.name, owner, t.now())
		if ok && usable(c) {
			t.current = c
			return true
		}
		return false
	}
	if cached() {
		return t.current.Value, nil
	}
	made, err := t.make(ctx, cached)
	if err != nil || made == nil {
		return t.current.Value, err
	}
	t.current = config.Token{For: owner, Value: made.AccessToken, ExpiresAt: t.now().Add(time.Duration(made.ExpiresIn) * time.Second)}
	if t.target.name != "" {
		_ = t.target.store.KeepToken(t.target.name, t.current) //nolint:errcheck // without a cache each call gets its own token
	}
	return t.current.Value, nil
}

// fingerprint names the login that a cached token was made for, without giving it away.
func (t target) fingerprint() string {
	parts := []string{t.context.API, t.context.Tenant}
	switch {
	case t.context.APIKey != nil:
		parts = append(parts, "key", t.context.APIKey.ClientID)
	case t.context.OIDC != nil: // not the refresh token, which changes with every use
		parts = append(parts, "oidc", t.context.OIDC.Issuer, t.context.OIDC.ClientID)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// make gets a new token, or nil when somebody else has made one meanwhile.
func (t *tokens) make(ctx context.Context, cached func() bool) (*openapi.Token, error) {
	if key := t.target.context.APIKey; key != nil {
		made, err := keyToken(ctx, t.web, t.target.context.API, *key)
		return made, t.target.explain(err)
	}
	id, err := t.renew(ctx, cached)
	if err != nil || id == "" {
		return nil, t.target.explain(err)
	}
	made, err := exchange(ctx, t.web, t.target.context.API, id, t.target.context.Tenant)
	return made, t.target.explain(err)
}

// renew gets an ID token by the refresh token. An issuer may take each refresh token only once, so one process at a time does it, and
// the next one is kept before anything else can fail.
func (t *tokens) renew(ctx context.Context, cached func() bool) (id string, err error) {
	err = t.target.store.Update(func(c *config.Config) error {
		if cached() {
			return nil
		}
		context, ok := c.Contexts[t.target.name]
		if !ok || context.OIDC == nil || context.OIDC.RefreshToken == "" {
			return loginError{"the login has ended"}
		}
		issuer, err := oidc.Discover(ctx, t.web, context.OIDC.Issuer, context.OIDC.ClientID)
		if err != nil {
			return unreachableError{err}
		}
		got, err := issuer.Renew(ctx, context.OIDC.RefreshToken)
		if refused, ok := errors.AsType[*oidc.RefusedError](err); ok {
			return loginError{"the login has ended: " + refused.Error()}
		}
		if err != nil {
			return unreachableError{err}
		}
		id = got.ID
		renewed := *context.OIDC
		renewed.RefreshToken = got.Refresh
		context.OIDC = &renewed
		c.Contexts[t.target.name] = context
		return nil
	})
	return id, err
}

// explain adds what to do about a login that does not work.
func (t target) explain(err error) error {
	refused, ok := errors.AsType[loginError](err)
	switch {
	case !ok:
		return err
	case t.name == "":
		return loginError{refused.text + "; look at HUSK_CLIENT_ID and HUSK_CLIENT_SECRET"}
	default:
		return loginError{refused.text + "; husk login --context " + t.name + " logs in again"}
	}
}

// keyToken gets a token for an API key.
func keyToken(ctx context.Context, web *http.Client, api string, key config.APIKey) (*openapi.Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	return getToken(ctx, web, api, form, func(r *http.Request) {
		r.SetBasicAuth(url.QueryEscape(key.ClientID), url.QueryEscape(key.ClientSecret)) // RFC 6749, 2.3.1
	})
}

// exchange gets a token for a person whom an ID token names (RFC 8693). tenant may be empty where the person has one only.
func exchange(ctx context.Context, web *http.Client, api, idToken, tenant string) (*openapi.Token, error) {
	form := url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {idToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	}
	if tenant != "" {
		form.Set("scope", "tenant:"+tenant)
	}
	return getToken(ctx, web, api, form, func(*http.Request) {})
}

// oauthError is Husk's refusal to give a token, as OAuth 2.0 calls it.
type oauthError struct {
	loginError
	code openapi.OAuthErrorError
}

func (e oauthError) Unwrap() error { return e.loginError }

func getToken(ctx context.Context, web *http.Client, api string, form url.Values, change func(*http.Request)) (*openapi.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	change(req)
	resp, err := web.Do(req)
	if err != nil {
		return nil, callError(err)
	}
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized {
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		if err != nil {
			return nil, unreachableError{fmt.Errorf("the API's answer broke off: %w", err)}
		}
		var refused openapi.OAuthError
		if json.Unmarshal(raw, &refused) == nil && refused.Error != "" {
			text := fmt.Sprintf("no token: %s (%s)", value(refused.ErrorDescription), refused.Error)
			return nil, oauthError{loginError{text}, refused.Error}
		}
		return nil, unreachableError{fmt.Errorf("%s answers %s, which is not how Husk answers; is the URL right?", api+tokenPath, resp.Status)}
	}
	token, err := answer[openapi.Token](resp, nil)
	return &token, err
}
