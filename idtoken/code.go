// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"husk/strictjson"
)

// scopes are what a browser requests from an issuer: an ID token with the claims in Claims.
const scopes = "openid profile email"

// Authorization is the request with which a browser is sent to an issuer (RFC 6749, 4.1.1, and RFC
// 7636, 4.3).
type Authorization struct {
	ClientID, RedirectURI, State string
	Challenge                    string // of PKCE, method S256
}

// AuthorizationURL returns the URL at which users log in to an issuer in a browser. It returns an
// *IssuerError.
func (v *Verifier) AuthorizationURL(ctx context.Context, issuer string, a Authorization) (string, error) {
	at, err := v.placesOf(ctx, issuer)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(at.authorization)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", misconfigured(issuer, "its discovery document has no URL at which browsers log in (authorization_endpoint)", err)
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": a.ClientID, "redirect_uri": a.RedirectURI, "scope": scopes, "state": a.State,
		"code_challenge": a.Challenge, "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Code is what an issuer sent back through the browser.
type Code struct {
	ClientID, Code, Verifier, RedirectURI string
}

// Redeem exchanges a code for the ID token at the issuer (RFC 6749, 4.1.3). The caller must still
// verify the token. It returns a *RefusedError if the issuer does not accept the code, and an
// *IssuerError if that cannot be determined.
func (v *Verifier) Redeem(ctx context.Context, issuer string, c Code) (string, error) {
	at, err := v.placesOf(ctx, issuer)
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {c.ClientID}, "code": {c.Code}, "code_verifier": {c.Verifier}, "redirect_uri": {c.RedirectURI},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.token, strings.NewReader(form.Encode()))
	if err != nil || at.token == "" {
		return "", misconfigured(issuer, "its discovery document has no URL at which codes are redeemed (token_endpoint)", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	client := v.egress.Client(askTimeout)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return "", unreachable(issuer, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return "", unreachable(issuer, err)
	}
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		return "", overloaded(issuer, at.token, resp)
	}
	var said struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
	}
	err = errors.Join(strictjson.Check(data, maxDepth), json.Unmarshal(data, &said))
	switch {
	case resp.StatusCode == http.StatusOK && err == nil && said.IDToken != "":
		return said.IDToken, nil
	case resp.StatusCode == http.StatusOK:
		return "", misconfigured(issuer, "it gives no ID token for a code", err)
	case err == nil && said.Error == "invalid_grant":
		return "", refuse("the issuer no longer accepts the code; log in again", nil)
	default:
		return "", misconfigured(issuer, fmt.Sprintf("it does not redeem a code (%.100q); husk must be a public client there, with PKCE", said.Error), err)
	}
}

// placesOf returns an issuer's endpoints. It asks for them at most as often as for its keys.
func (v *Verifier) placesOf(ctx context.Context, issuer string) (places, error) {
	if err := checkIssuer(issuer); err != nil {
		return places{}, err
	}
	s := v.source(issuer)
	if _, err := v.keys(ctx, s, false); err != nil {
		return places{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places.keys == "" { // the last attempt failed; only the previous keys can still be used
		return places{}, s.err
	}
	return s.places, nil
}
