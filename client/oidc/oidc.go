// SPDX-License-Identifier: Apache-2.0

// Package oidc logs a user in at an OIDC issuer from a terminal, with the device flow (RFC 8628), and renews the ID token with the refresh
// token.
//
// It does not verify ID tokens and so needs no keys of the issuer. Husk verifies them.
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

// scopes request the user's identity and a refresh token.
var scopes = []string{"openid", "profile", "email", "offline_access"}

// Issuer is the discovered configuration of an issuer.
type Issuer struct {
	URL        string
	ClientID   string
	endpoint   oauth2.Endpoint
	revocation string
	web        *http.Client
}

// Tokens are the result of a login or of its renewal.
type Tokens struct {
	ID      string
	Refresh string // empty if the issuer gives none
}

// RefusedError says that the issuer has refused a login, or ended it.
type RefusedError struct {
	Issuer string
	Code   string // of OAuth 2.0, such as invalid_grant
	Text   string
}

// Error implements error.
func (r *RefusedError) Error() string {
	text := r.Code
	if r.Text != "" {
		text = r.Text + " (" + r.Code + ")"
	}
	return r.Issuer + " answers: " + text
}

// maxDocument is the maximum size of an issuer's configuration, in bytes.
const maxDocument = 1 << 20

// Discover gets the configuration of an issuer (OpenID Connect Discovery 1.0).
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
		return nil, fmt.Errorf("the login at the issuer %s failed: %w", issuer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s is not an OIDC issuer: %s at %s", issuer, resp.Status, where)
	}
	var c struct {
		Issuer     string `json:"issuer"`
		Token      string `json:"token_endpoint"`
		Device     string `json:"device_authorization_endpoint"`
		Revocation string `json:"revocation_endpoint"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&c); err != nil {
		return nil, fmt.Errorf("%s is not an OIDC issuer: %w", issuer, err)
	}
	if c.Issuer != issuer {
		return nil, fmt.Errorf("the issuer %s gives its URL as %q; use that URL if you trust it", issuer, c.Issuer)
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

// private checks that a URL is https, or is on this machine.
func private(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("expected a URL such as https://login.example.com")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("a login needs https")
}

func (i *Issuer) config() oauth2.Config {
	return oauth2.Config{ClientID: i.ClientID, Endpoint: i.endpoint, Scopes: scopes}
}

func (i *Issuer) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, i.web)
}

// Prompt tells the user to open the URL and enter the code, or to open the complete URL.
type Prompt struct {
	URL      string
	Code     string
	Complete string // the URL with the code in it; may be empty
	Expires  time.Time
}

// DeviceLogin waits until the user has logged in with a browser, on any machine.
func (i *Issuer) DeviceLogin(ctx context.Context, show func(Prompt)) (Tokens, error) {
	if i.endpoint.DeviceAuthURL == "" {
		return Tokens{}, fmt.Errorf("the issuer %s supports no login from a terminal (no device_authorization_endpoint); use an API key", i.URL)
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
			return Tokens{}, &RefusedError{i.URL, "expired_token", "the code was not entered in time"}
		}
		return Tokens{}, i.explain(ctx, err)
	}
	return i.tokens(t, "")
}

// Renew gets a new ID token. If it also gets a new refresh token, the old one is no longer valid.
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

// explain returns an error without the issuer's whole response, which the errors of package oauth2 contain.
func (i *Issuer) explain(ctx context.Context, err error) error {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if r.ErrorCode != "" {
			return &RefusedError{i.URL, r.ErrorCode, r.ErrorDescription}
		}
		return fmt.Errorf("the issuer %s responds with %s", i.URL, r.Response.Status)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the login at the issuer %s failed: %w", i.URL, err)
}

// Revoke revokes a refresh token (RFC 7009).
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
		return fmt.Errorf("the login at the issuer %s failed: %w", i.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer %s does not revoke the refresh token: %s", i.URL, resp.Status)
	}
	return nil
}
