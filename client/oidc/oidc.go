// Package oidc logs a person in at an OIDC issuer from a terminal: the device flow (RFC 8628), and ID tokens by the refresh token that
// it gave.
//
// It trusts an ID token no further than to hand it to Husk, which verifies it; so it needs no keys of the issuer.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// scopes are what a login asks for: who one is, and a refresh token.
var scopes = []string{"openid", "profile", "email", "offline_access"}

// Issuer is where an issuer said it is to be asked.
type Issuer struct {
	URL        string
	ClientID   string
	endpoint   oauth2.Endpoint
	revocation string
	web        *http.Client
}

// Tokens are what a login or its renewal gave.
type Tokens struct {
	ID      string
	Refresh string // empty if the issuer gives none
}

// RefusedError is an answer of the issuer by which the login has ended, or was never allowed.
type RefusedError struct {
	Issuer string
	Code   string // as OAuth 2.0 calls it, such as invalid_grant
	Text   string
}

// Error implements error.
func (r *RefusedError) Error() string {
	text := r.Code
	if r.Text != "" {
		text = r.Text + " (" + r.Code + ")"
	}
	return r.Issuer + " says: " + text
}

// maxDocument bounds what is read of an issuer's configuration, in bytes.
const maxDocument = 1 << 20

// Discover asks an issuer for its configuration (OpenID Connect Discovery 1.0).
func Discover(ctx context.Context, web *http.Client, issuer, clientID string) (*Issuer, error) {
	if err := private(issuer); err != nil {
		return nil, fmt.Errorf("the issuer %s: %w", issuer, err)
	}
	where := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the issuer %s does not answer: %w", issuer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer %s does not answer as one: %s at %s", issuer, resp.Status, where)
	}
	var c struct {
		Issuer     string `json:"issuer"`
		Token      string `json:"token_endpoint"`
		Device     string `json:"device_authorization_endpoint"`
		Revocation string `json:"revocation_endpoint"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&c); err != nil {
		return nil, fmt.Errorf("the issuer %s does not answer as one: %w", issuer, err)
	}
	if c.Issuer != issuer {
		return nil, fmt.Errorf("the issuer %s calls itself %q; use that URL if it is the one you trust", issuer, c.Issuer)
	}
	for _, endpoint := range []string{c.Token, c.Device, c.Revocation} {
		if err := private(endpoint); endpoint != "" && err != nil {
			return nil, fmt.Errorf("the issuer %s names %s: %w", issuer, endpoint, err)
		}
	}
	if c.Token == "" {
		return nil, fmt.Errorf("the issuer %s has no token endpoint", issuer)
	}
	return &Issuer{
		URL: issuer, ClientID: clientID, web: web, revocation: c.Revocation,
		endpoint: oauth2.Endpoint{TokenURL: c.Token, DeviceAuthURL: c.Device, AuthStyle: oauth2.AuthStyleInParams},
	}, nil
}

// private says whether what is sent to a URL stays between the two: TLS, or this machine.
func private(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("this is not a URL such as https://login.example.com")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("only https is private enough for a login")
}

func (i *Issuer) config() oauth2.Config {
	return oauth2.Config{ClientID: i.ClientID, Endpoint: i.endpoint, Scopes: scopes}
}

func (i *Issuer) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, i.web)
}

// Prompt is what a person is shown: open the URL and enter the code, or open the one that has it already.
type Prompt struct {
	URL      string
	Code     string
	Complete string // may be empty
	Expires  time.Time
}

// DeviceLogin lets a person log in with any browser, and waits until that is done.
func (i *Issuer) DeviceLogin(ctx context.Context, show func(Prompt)) (Tokens, error) {
	if i.endpoint.DeviceAuthURL == "" {
		return Tokens{}, fmt.Errorf("the issuer %s offers no login from a terminal (no device_authorization_endpoint); use an API key", i.URL)
	}
	ctx = i.context(ctx)
	cfg := i.config()
	device, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return Tokens{}, i.explain(ctx, err)
	}
	show(Prompt{URL: device.VerificationURI, Code: device.UserCode, Complete: device.VerificationURIComplete, Expires: device.Expiry})
	t, err := cfg.DeviceAccessToken(ctx, device)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return Tokens{}, &RefusedError{i.URL, "expired_token", "nobody has entered the code in time"}
		}
		return Tokens{}, i.explain(ctx, err)
	}
	return i.tokens(t, "")
}

// Renew gets a new ID token. The refresh token may be a new one too, and then the old one is used up.
func (i *Issuer) Renew(ctx context.Context, refresh string) (Tokens, error) {
	ctx = i.context(ctx)
	cfg := i.config()
	t, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return Tokens{}, i.explain(ctx, err)
	}
	return i.tokens(t, refresh)
}

func (i *Issuer) tokens(t *oauth2.Token, refresh string) (Tokens, error) {
	id, _ := t.Extra("id_token").(string)
	if id == "" {
		return Tokens{}, fmt.Errorf("the issuer %s gives no ID token", i.URL)
	}
	if t.RefreshToken != "" {
		refresh = t.RefreshToken
	}
	return Tokens{ID: id, Refresh: refresh}, nil
}

// explain keeps what an error says and nothing of what was sent: oauth2 prints whole answers.
func (i *Issuer) explain(ctx context.Context, err error) error {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if r.ErrorCode != "" {
			return &RefusedError{i.URL, r.ErrorCode, r.ErrorDescription}
		}
		return fmt.Errorf("the issuer %s answers %s", i.URL, r.Response.Status)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the issuer %s does not answer: %w", i.URL, err)
}

// Revoke tells the issuer that a refresh token is needed no more (RFC 7009).
func (i *Issuer) Revoke(ctx context.Context, refresh string) error {
	if i.revocation == "" {
		return nil
	}
	form := url.Values{"token": {refresh}, "token_type_hint": {"refresh_token"}, "client_id": {i.ClientID}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := i.web.Do(req)
	if err != nil {
		return fmt.Errorf("the issuer %s does not answer: %w", i.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer %s does not take the refresh token back: %s", i.URL, resp.Status)
	}
	return nil
}
