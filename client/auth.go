// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"husk/openapi"
)

// tokenPath is the endpoint that exchanges credentials for tokens.
const tokenPath = "/oauth2/token" //nolint:gosec // a path, not a token

// Token is a token of Husk. It is valid for 15 minutes.
type Token struct {
	Value     string
	ExpiresAt time.Time
}

// TokenSource gets tokens. The client keeps each token until shortly before it expires. It never makes two calls at the same time.
type TokenSource interface {
	// Token returns a token other than the refused one, which the API did not accept although it has not expired. The argument is empty
	// if no token was refused.
	Token(ctx context.Context, refused string) (Token, error)
}

type apiKey struct {
	c          *Client
	id, secret string
}

// Token implements TokenSource.
func (k apiKey) Token(ctx context.Context, _ string) (Token, error) {
	return k.c.TokenForAPIKey(ctx, k.id, k.secret)
}

type idTokens struct {
	c      *Client
	next   func() (string, error)
	tenant string
}

// Token implements TokenSource.
func (i idTokens) Token(ctx context.Context, _ string) (Token, error) {
	id, err := i.next()
	if err != nil {
		return Token{}, &LoginError{Detail: "no ID token: " + err.Error()}
	}
	return i.c.TokenForIDToken(ctx, id, i.tenant)
}

// TokenForAPIKey exchanges an API key for a token: the client credentials grant of RFC 6749.
func (c *Client) TokenForAPIKey(ctx context.Context, clientID, clientSecret string) (Token, error) {
	return c.issueToken(ctx, url.Values{"grant_type": {"client_credentials"}}, func(r *http.Request) {
		r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret)) // RFC 6749, 2.3.1
	})
}

// TokenForIDToken exchanges a user's ID token for a token: RFC 8693. tenant may be empty if the user belongs to one tenant only.
func (c *Client) TokenForIDToken(ctx context.Context, idToken, tenant string) (Token, error) {
	form := url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {idToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	}
	if tenant != "" {
		form.Set("scope", "tenant:"+tenant)
	}
	return c.issueToken(ctx, form, func(*http.Request) {})
}

func (c *Client) issueToken(ctx context.Context, form url.Values, change func(*http.Request)) (Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	change(req)
	resp, err := c.base.Do(req)
	if err != nil {
		return Token{}, callError(err)
	}
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized {
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		if err != nil {
			return Token{}, &UnreachableError{fmt.Errorf("the API's response was cut off: %w", err)}
		}
		var refused openapi.OAuthError
		if json.Unmarshal(raw, &refused) == nil && refused.Error != "" {
			return Token{}, &LoginError{string(refused.Error), fmt.Sprintf("no token: %s (%s)", openapi.Value(refused.ErrorDescription), refused.Error)}
		}
		return Token{}, &UnreachableError{fmt.Errorf("%s responds with %s, which is not a response of Husk; is the URL right?", c.url+tokenPath, resp.Status)}
	}
	t, err := Decode[openapi.Token](resp, nil)
	return Token{t.AccessToken, time.Now().Add(time.Duration(t.ExpiresIn) * time.Second)}, err
}

// authorizer puts a token on every request. If the API refuses the token, because it was revoked or its role has changed, authorizer gets
// another token and repeats the request once.
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

// tokens keeps the current token.
type tokens struct {
	source TokenSource
	now    func() time.Time

	mu      sync.Mutex
	current Token
}

// early is how long before its expiry a token is replaced, so that it does not expire on its way to the server.
const early = 5 * time.Second

// token returns a token other than the refused one.
func (t *tokens) token(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.Value != "" && t.current.Value != refused && t.now().Before(t.current.ExpiresAt.Add(-early)) {
		return t.current.Value, nil
	}
	next, err := t.source.Token(ctx, refused)
	if err != nil {
		return "", err
	}
	t.current = next
	return next.Value, nil
}
