// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"husk"
	"husk/openapi"
	"husk/server/auth"
	"husk/test/oidcprovider"
)

const redirectURI = "http://127.0.0.1/callback"

// authorize requests /oauth2/authorize and returns the response without following its redirect.
func (s fixture) authorize(query url.Values, headers ...string) response {
	s.t.Helper()
	s.web = &http.Client{Transport: s.web.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s.send(s.request("GET", "/oauth2/authorize?"+query.Encode(), "", nil, headers...))
}

func (s fixture) redeem(form url.Values) response {
	s.t.Helper()
	form.Set("grant_type", grantCode)
	return s.send(s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func TestABrowserLogsInWithACode(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	c := s.tenant()
	as[openapi.OIDCIssuer](t, s.call("POST", "/v1/oidc-issuers", c.token, map[string]any{"name": "login", "issuer": p.Issuer, "clientId": oidcprovider.Client, "roleMappings": []any{
		map[string]any{"claim": "groups", "value": "husk-developers", "role": "developer"},
	}}), 201)
	scope := "tenant:" + s.name(c)
	verifier := oauth2.GenerateVerifier()
	query := func(changes ...string) url.Values {
		q := url.Values{
			"issuer": {p.Issuer}, "client_id": {oidcprovider.Client}, "redirect_uri": {redirectURI}, "state": {"the-state"}, "scope": {scope},
			"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)},
		}
		for i := 0; i+1 < len(changes); i += 2 {
			q.Set(changes[i], changes[i+1])
		}
		return q
	}
	sent := s.authorize(query(), "Sec-Fetch-Site", "same-origin")
	to := sent.header.Get("Location")
	if sent.status != http.StatusFound || !strings.HasPrefix(to, p.Issuer+"/auth?") {
		t.Fatalf("the authorization request gets the status %d and the location %q: %s", sent.status, to, sent.body)
	}
	logIn := func(u oidcprovider.User) url.Values {
		t.Helper()
		callback, err := oidcprovider.LogIn(t.Context(), s.authorize(query()).header.Get("Location"), u)
		if err != nil {
			t.Fatal(err)
		}
		if callback.Query().Get("state") != "the-state" {
			t.Errorf("the callback of the login redirects to %s", callback)
		}
		return url.Values{
			"issuer": {p.Issuer}, "client_id": {oidcprovider.Client}, "redirect_uri": {redirectURI}, "scope": {scope}, "code": {callback.Query().Get("code")}, "code_verifier": {verifier},
		}
	}
	form := logIn(oidcprovider.Developer)
	token := as[openapi.Token](t, s.redeem(form), 200)
	who := as[openapi.Identity](t, s.call("GET", "/v1/whoami", token.AccessToken, nil), 200)
	if who.Role == nil || *who.Role != "developer" || *who.TenantID != c.id || token.Scope == nil || *token.Scope != scope {
		t.Errorf("the developer is %+v with %+v", who, token)
	}

	// A code is valid once, with the parameters of the request, and for users of issuers that the tenant trusts.
	s.wantRefused(s.redeem(form), "invalid_grant")
	form = logIn(oidcprovider.Developer)
	form.Set("code_verifier", oauth2.GenerateVerifier())
	s.wantRefused(s.redeem(form), "invalid_grant")
	s.wantRefused(s.redeem(logIn(oidcprovider.Stranger)), "invalid_grant")
	for field, value := range map[string]string{"issuer": "https://login.example.org", "client_id": oidcprovider.OtherClient, "scope": "tenant:never-was"} {
		form = logIn(oidcprovider.Developer)
		form.Set(field, value)
		s.wantRefused(s.redeem(form), "invalid_grant")
	}
	form.Del("code")
	s.wantRefused(s.redeem(form), "invalid_request")

	// The server does not redirect to an issuer that the tenant does not trust, and refuses
	// requests from other sites' pages.
	for _, changes := range [][]string{{"issuer", "https://login.example.org"}, {"client_id", "another"}, {"scope", "tenant:never-was"}, {"scope", ""}} {
		wantProblem(t, s.authorize(query(changes...)), http.StatusNotFound, husk.CodeNotFound, "issuer")
	}
	for _, fixture := range []string{"cross-site", "same-site", "none"} {
		wantProblem(t, s.authorize(query(), "Sec-Fetch-Site", fixture), http.StatusForbidden, husk.CodeForbidden, "")
	}
	wantProblem(t, s.authorize(query("scope", "everything")), http.StatusUnprocessableEntity, husk.CodeInvalid, "scope")
}

// exchangeToken exchanges an access token for a new one.
func (s fixture) exchangeToken(token string) response {
	s.t.Helper()
	form := url.Values{"grant_type": {grantTokenExchange}, "subject_token": {token}, "subject_token_type": {typeAccessToken}}
	return s.send(s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func TestATokenIsRenewedUntilItsLoginExpires(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	renewed := as[openapi.Token](t, s.exchangeToken(c.token), 200)
	if renewed.ExpiresIn != int(auth.TokenLife.Seconds()) || renewed.Scope == nil || *renewed.Scope != "tenant:"+s.name(c) {
		t.Errorf("the response is %+v", renewed)
	}
	as[openapi.Identity](t, s.call("GET", "/v1/whoami", as[openapi.Token](t, s.exchangeToken(s.operator()), 200).AccessToken, nil), 200)

	// The last token expires with the login, and renewing a token does not extend the login.
	at := func(age time.Duration) string {
		old := c.owner
		old.LoggedInAt = time.Now().Add(-age)
		return s.token(old)
	}
	last := as[openapi.Token](t, s.exchangeToken(at(auth.LoginLife-5*time.Minute)), 200)
	if last.ExpiresIn < 200 || last.ExpiresIn > 300 {
		t.Errorf("five minutes before the login expires, a token is valid for %d seconds", last.ExpiresIn)
	}
	again := as[openapi.Token](t, s.exchangeToken(last.AccessToken), 200)
	if again.ExpiresIn > 300 {
		t.Errorf("the renewed token is valid for %d seconds", again.ExpiresIn)
	}
	s.wantRefused(s.exchangeToken(at(auth.LoginLife+time.Minute)), "invalid_grant")

	for _, bad := range []string{"no.such.token", c.token + "x"} {
		s.wantRefused(s.exchangeToken(bad), "invalid_grant")
	}
	// A user whose access was removed gets no new token. The tenant has another owner, so that it can be removed.
	s.tokenOf(c, husk.RoleOwner)
	if a := s.call("DELETE", "/v1/service-accounts/"+c.owner.ID.String(), c.token, nil); a.status != http.StatusNoContent {
		t.Fatalf("deleting the service account gets the response %d %s", a.status, a.body)
	}
	s.wantRefused(s.exchangeToken(renewed.AccessToken), "invalid_grant")
}
