// SPDX-License-Identifier: Apache-2.0

package oidcprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// scopes are the scopes that our clients request.
var scopes = []string{"openid", "profile", "email"}

// endpoints returns the URLs of the provider. A real client finds them by discovery.
func endpoints(issuer string) oauth2.Endpoint {
	return oauth2.Endpoint{
		AuthURL: issuer + "/auth", TokenURL: issuer + "/oauth/token", DeviceAuthURL: issuer + "/device_authorization", AuthStyle: oauth2.AuthStyleInParams,
	}
}

// browser returns an HTTP client that behaves like a user's browser. It keeps cookies, and does not
// follow a redirect to a client's callback.
func browser() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}}, nil
}

// IDToken logs a user in with the authorization code flow, by the login form, and returns the
// client's ID token.
func IDToken(ctx context.Context, issuer, clientID string, u User) (string, error) {
	cfg := oauth2.Config{ClientID: clientID, Endpoint: endpoints(issuer), RedirectURL: redirects[0], Scopes: scopes}
	verifier := oauth2.GenerateVerifier()
	callback, err := LogIn(ctx, cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), u)
	if err != nil {
		return "", err
	}
	code := callback.Query().Get("code")
	if code == "" {
		return "", fmt.Errorf("%s logged in, but the callback has no code: %s", u.Name, callback)
	}
	got, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	return idToken(got)
}

// LogIn opens a client's authorization URL and logs the user in. It returns the URL of the last
// redirect: the client's redirect URI with a code and a state.
func LogIn(ctx context.Context, authURL string, u User) (*url.URL, error) {
	b, err := browser()
	if err != nil {
		return nil, err
	}
	page, at, err := open(ctx, b, authURL, nil)
	if err != nil {
		return nil, err
	}
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
	if id == nil {
		return nil, fmt.Errorf("%s is not a login form: %s", at, page)
	}
	page, to, err := open(ctx, b, at.ResolveReference(&url.URL{Path: "/login/username"}).String(), url.Values{"id": {id[1]}, "username": {u.Name}, "password": {u.Password}})
	if err != nil {
		return nil, err
	}
	if to.Path != "/callback" {
		return nil, fmt.Errorf("%s is not logged in: %s", u.Name, page)
	}
	return to, nil
}

// ApproveDevice does what a user does with the code that a device shows. It opens the page, enters
// the code, logs in and approves the login. verificationURI is the URL that the device received,
// with or without the code.
func ApproveDevice(ctx context.Context, verificationURI, userCode string, u User) error {
	b, err := browser()
	if err != nil {
		return err
	}
	to, err := url.Parse(verificationURI)
	if err != nil {
		return err
	}
	to.RawQuery = url.Values{"user_code": {userCode}}.Encode()
	page, _, err := open(ctx, b, to.String(), nil)
	if err != nil {
		return err
	}
	if !strings.Contains(page, userCode) {
		return fmt.Errorf("%s does not ask for a login: %s", to, page)
	}
	form := url.Values{"user_code": {userCode}, "username": {u.Name}, "password": {u.Password}}
	page, _, err = open(ctx, b, to.ResolveReference(&url.URL{Path: "/device/login"}).String(), form)
	if err != nil {
		return err
	}
	if !strings.Contains(page, "confirm?action=allowed") {
		return fmt.Errorf("%s is not logged in for %s: %s", u.Name, userCode, page)
	}
	page, _, err = open(ctx, b, to.ResolveReference(&url.URL{Path: "/device/confirm", RawQuery: "action=allowed"}).String(), nil)
	if err == nil && !strings.Contains(page, "authorization allowed") {
		err = fmt.Errorf("%s is not approved: %s", userCode, page)
	}
	return err
}

// DeviceIDToken gets an ID token as a device does, and approves the login as the user. It takes a
// second, because devices wait before they poll.
func DeviceIDToken(ctx context.Context, issuer, clientID string, u User) (string, error) {
	cfg := oauth2.Config{ClientID: clientID, Endpoint: endpoints(issuer), Scopes: scopes}
	device, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return "", err
	}
	if err := ApproveDevice(ctx, device.VerificationURI, device.UserCode, u); err != nil {
		return "", err
	}
	got, err := cfg.DeviceAccessToken(ctx, device)
	if err != nil {
		return "", err
	}
	return idToken(got)
}

// Rotate makes a provider of this package, in this or another process, create a new signing key.
func Rotate(ctx context.Context, issuer string) error {
	_, _, err := open(ctx, http.DefaultClient, issuer+rotatePath, url.Values{})
	return err
}

func idToken(t *oauth2.Token) (string, error) {
	id, _ := t.Extra("id_token").(string)
	if id == "" {
		return "", errors.New("the response has no ID token")
	}
	return id, nil
}

// open gets a page, or posts a form to it. It returns the page and the URL after redirects. A
// response with JSON is an error, because the provider uses JSON to refuse a browser's request.
func open(ctx context.Context, b *http.Client, at string, form url.Values) (page string, where *url.URL, err error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return "", nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", nil, err
	}
	where = resp.Request.URL
	if to, err := resp.Location(); err == nil { // the client's redirect URI, which the browser does not open
		where = to
	}
	if resp.StatusCode >= http.StatusBadRequest || json.Valid(raw) && len(raw) > 0 {
		return "", nil, fmt.Errorf("%s responds with %s: %s", at, resp.Status, raw)
	}
	return string(raw), where, nil
}
