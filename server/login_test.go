// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
	"husk/test/oidcprovider"
)

// exchange exchanges an ID token for an access token.
func (s fixture) exchange(idToken, scope string) response {
	s.t.Helper()
	form := url.Values{"grant_type": {grantTokenExchange}, "subject_token": {idToken}, "subject_token_type": {typeIDToken}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return s.send(s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

type oauthProblem struct {
	Error string `json:"error"`
	Text  string `json:"error_description"`
}

func (s fixture) wantRefused(a response, code string) {
	s.t.Helper()
	if got := as[oauthProblem](s.t, a, http.StatusBadRequest); got.Error != code || got.Text == "" {
		s.t.Errorf("the response is %s, want %s", a.body, code)
	}
}

// idToken logs a user in at the provider, as a browser does.
func idToken(t *testing.T, p *oidcprovider.Provider, client string, u oidcprovider.User) string {
	t.Helper()
	token, err := oidcprovider.IDToken(t.Context(), p.Issuer, client, u)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s fixture) name(c tenancy) string {
	s.t.Helper()
	return as[openapi.Tenant](s.t, s.call("GET", "/v1/admin/tenants/"+c.id.String(), s.operator(), nil), 200).Name
}

func TestUsersLogInWithTheirIssuersClaims(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	c := s.tenant()
	made := s.call("POST", "/v1/oidc-issuers", c.token, map[string]any{"name": "login", "issuer": p.Issuer, "clientId": oidcprovider.Client, "roleMappings": []any{
		map[string]any{"claim": "groups", "value": "husk-developers", "role": "developer"}, map[string]any{"claim": "groups", "value": "husk-owners", "role": "owner"},
	}})
	issuer := as[openapi.OIDCIssuer](t, made, 201)
	scope := "tenant:" + s.name(c)

	developer := as[openapi.Token](t, s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Developer), scope), 200)
	if developer.Scope == nil || *developer.Scope != scope || developer.IssuedTokenType == nil || *developer.IssuedTokenType != typeAccessToken {
		t.Errorf("the response is %+v", developer)
	}
	who := as[openapi.Identity](t, s.call("GET", "/v1/whoami", developer.AccessToken, nil), 200)
	if who.Role == nil || *who.Role != "developer" || *who.TenantID != c.id {
		t.Errorf("the developer is %+v", who)
	}
	wantProblem(t, s.call("GET", "/v1/users", developer.AccessToken, nil), http.StatusForbidden, husk.CodeForbidden, "")
	owner := as[openapi.Token](t, s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), scope), 200).AccessToken
	users := as[openapi.UserList](t, s.call("GET", "/v1/users", owner, nil), 200).Items
	if len(users) != 2 || !users[0].Mapped || users[0].LastLoginAt == nil || users[0].Role != "developer" || users[1].Role != "owner" {
		t.Errorf("the users are %+v", users)
	}

	logins := 0
	for _, e := range as[openapi.AuditList](t, s.call("GET", "/v1/audit", owner, nil), 200).Items {
		if e.Operation == "issueToken" && e.ActorKind == "user" && e.ActorName != "" {
			logins++
		}
	}
	if logins != 2 {
		t.Errorf("the audit log has %d logins, want 2", logins)
	}

	// These logins are refused: no group, another client's token, another tenant, a tenant that
	// does not exist, no tenant.
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Stranger), scope), "invalid_grant")
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.OtherClient, oidcprovider.Owner), scope), "invalid_grant")
	other := s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), "tenant:"+s.name(s.tenant()))
	none := s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), "tenant:never-was")
	s.wantRefused(other, "invalid_grant")
	if other.body != none.body {
		t.Errorf("the response for another tenant is %s, and for one that does not exist %s", other.body, none.body)
	}
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), ""), "invalid_grant")
	s.wantRefused(s.exchange("no.such.token", scope), "invalid_grant")
	s.wantRefused(s.exchange("", scope), "invalid_request")
	s.wantRefused(s.exchange("x", "everything"), "invalid_scope")

	// A disabled user is refused at the next request, whatever the user's groups are.
	id := users[0].ID.String()
	as[openapi.User](t, s.call("PATCH", "/v1/users/"+id, owner, map[string]any{"disabled": true}), 200)
	wantProblem(t, s.call("GET", "/v1/pods", developer.AccessToken, nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Developer), scope), "invalid_grant")

	// A role that an owner sets takes effect immediately, and later logins do not replace it by the
	// mapped role.
	as[openapi.User](t, s.call("PATCH", "/v1/users/"+id, owner, map[string]any{"disabled": false, "role": "viewer"}), 200)
	viewer := as[openapi.Token](t, s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Developer), scope), 200).AccessToken
	wantProblem(t, s.call("POST", "/v1/pods", viewer, c.body("web")), http.StatusForbidden, husk.CodeForbidden, "")

	// Deleting an issuer removes the access of its users.
	if a := s.call("DELETE", "/v1/oidc-issuers/"+issuer.ID.String(), c.token, nil); a.status != 204 {
		t.Fatalf("deleting the issuer gets the response %d %s", a.status, a.body)
	}
	wantProblem(t, s.call("GET", "/v1/pods", viewer, nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), scope), "invalid_grant")
}

func TestAnInvitedUserIsKnownByAddressUntilTheFirstLogin(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	c := s.tenant()
	as[openapi.OIDCIssuer](t, s.call("POST", "/v1/oidc-issuers", c.token, map[string]any{"name": "login", "issuer": p.Issuer, "clientId": oidcprovider.Client}), 201)
	// An address that the issuer has not verified does not match an invited user.
	as[openapi.User](t, s.call("POST", "/v1/users", c.token, map[string]any{"issuer": p.Issuer, "email": oidcprovider.Stranger.Email, "role": "owner"}), 201)
	s.wantRefused(s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Stranger), "tenant:"+s.name(c)), "invalid_grant")
	invitation := map[string]any{"issuer": p.Issuer, "email": strings.ToUpper(oidcprovider.Owner.Email), "role": "developer"}
	invited := as[openapi.User](t, s.call("POST", "/v1/users", c.token, invitation), 201)
	wantProblem(t, s.call("POST", "/v1/users", c.token, invitation), http.StatusConflict, husk.CodeNameTaken, "")
	wantProblem(t, s.call("POST", "/v1/users", c.token, map[string]any{"issuer": p.Issuer, "role": "viewer"}), 422, husk.CodeInvalid, "subject")
	scope := "tenant:" + s.name(c)
	token := as[openapi.Token](t, s.exchange(idToken(t, p, oidcprovider.Client, oidcprovider.Owner), scope), 200).AccessToken
	if who := as[openapi.Identity](t, s.call("GET", "/v1/whoami", token, nil), 200); who.ID != invited.ID {
		t.Errorf("the invited user is %s and logs in as %s", invited.ID, who.ID)
	}
	user := as[openapi.User](t, s.call("GET", "/v1/users/"+invited.ID.String(), c.token, nil), 200)
	if user.Subject == nil || user.Mapped || user.LastLoginAt == nil {
		t.Errorf("after the login the user is %+v", user)
	}
	if a := s.call("DELETE", "/v1/users/"+invited.ID.String(), c.token, nil); a.status != 204 {
		t.Errorf("deleting the user gets the response %d", a.status)
	}
	wantProblem(t, s.call("GET", "/v1/pods", token, nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
}

func TestTheInstallationsIssuerGrantsAccessToTheTenantsInItsMappings(t *testing.T) {
	t.Parallel()
	s, p := open(t), oidcprovider.Start(t)
	one, two := s.tenant(), s.tenant()
	mapping := func(value string, tenant uuid.UUID, role husk.Role) map[string]any {
		return map[string]any{"claim": "groups", "value": value, "role": role, "tenantId": tenant}
	}
	request := map[string]any{"name": "company", "issuer": p.Issuer, "clientId": oidcprovider.Client, "roleMappings": []any{mapping("husk-developers", one.id, "viewer")}}
	issuer := as[openapi.OIDCIssuer](t, s.call("POST", "/v1/admin/oidc-issuers", s.operator(), request), 201)
	if options := as[openapi.LoginOptions](t, s.call("GET", "/.well-known/husk", "", nil), 200); len(options.Issuers) != 1 || options.Issuers[0].Issuer != p.Issuer {
		t.Errorf("the login options are %+v", options)
	}
	raw := idToken(t, p, oidcprovider.Client, oidcprovider.Developer)
	token := as[openapi.Token](t, s.exchange(raw, ""), 200) // the user has access to only one tenant
	if *token.Scope != "tenant:"+s.name(one) {
		t.Errorf("the token is for %s", *token.Scope)
	}
	path := "/v1/admin/oidc-issuers/" + issuer.ID.String()
	both := map[string]any{"roleMappings": []any{mapping("husk-developers", one.id, "viewer"), mapping("husk-developers", two.id, "owner")}}
	as[openapi.OIDCIssuer](t, s.call("PATCH", path, s.operator(), both), 200)
	s.wantRefused(s.exchange(raw, ""), "invalid_scope")
	as[openapi.Token](t, s.exchange(raw, "tenant:"+two.id.String()), 200)
	for field, m := range map[string]map[string]any{
		"roleMappings[0].tenantId": {"claim": "a", "value": "b", "role": "viewer"},
	} {
		wantProblem(t, s.call("PATCH", path, s.operator(), map[string]any{"roleMappings": []any{m}}), 422, husk.CodeInvalid, field)
	}
	wantProblem(t, s.call("PATCH", path, s.operator(), map[string]any{"roleMappings": []any{mapping("x", uuid.New(), "viewer")}}), 404, husk.CodeNotFound, "roleMappings[0].tenantId")
}

func TestAnInvalidIssuerCannotBeTrusted(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for _, issuer := range []string{"http://127.0.0.1:1", s.url, "https://login.invalid", "http://169.254.169.254/latest/meta-data"} {
		a := s.call("POST", "/v1/oidc-issuers", c.token, map[string]any{"name": "login", "issuer": issuer, "clientId": "husk"})
		wantProblem(t, a, http.StatusBadGateway, husk.CodeIssuerUnreachable, "issuer")
	}
}

func TestRevokedCredentialsAreRefusedAtTheNextRequest(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	account := as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": "ci", "role": "developer"}), 201)
	path := "/v1/service-accounts/" + account.ID.String()
	login := func(key openapi.APIKeyWithSecret) (string, response) {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {key.ClientSecret}}
		a := s.send(s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
		if a.status != 200 {
			return "", a
		}
		return as[openapi.Token](t, a, 200).AccessToken, a
	}
	key := func(request map[string]any) openapi.APIKeyWithSecret {
		return as[openapi.APIKeyWithSecret](t, s.call("POST", path+"/api-keys", c.token, request), 201)
	}
	first, second := key(map[string]any{"name": "one"}), key(map[string]any{"name": "two"})
	one, _ := login(first)
	two, _ := login(second)
	if a := s.call("DELETE", path+"/api-keys/"+first.ClientID.String(), c.token, nil); a.status != 204 {
		t.Fatalf("revoking gets the response %d %s", a.status, a.body)
	}
	wantProblem(t, s.call("GET", "/v1/pods", one, nil), 401, husk.CodeUnauthenticated, "")
	if _, a := login(first); a.status != 401 {
		t.Errorf("a revoked key gets the response %d", a.status)
	}
	if a := s.call("GET", "/v1/pods", two, nil); a.status != 200 {
		t.Errorf("the account's other key gets the response %d", a.status)
	}
	// Changing a role invalidates the tokens with the old role. The key gets new tokens.
	as[openapi.ServiceAccount](t, s.call("PATCH", path, c.token, map[string]any{"role": "viewer"}), 200)
	wantProblem(t, s.call("GET", "/v1/pods", two, nil), 401, husk.CodeUnauthenticated, "")
	two, _ = login(second)
	if a := s.call("GET", "/v1/pods", two, nil); a.status != 200 {
		t.Errorf("a token with the new role gets the response %d", a.status)
	}
	if a := s.call("DELETE", path, c.token, nil); a.status != 204 {
		t.Errorf("deleting the account gets the response %d", a.status)
	}
	wantProblem(t, s.call("GET", "/v1/pods", two, nil), 401, husk.CodeUnauthenticated, "")
	wantProblem(t, s.call("GET", path+"/api-keys", c.token, nil), 404, husk.CodeNotFound, "")
}

func TestAnAPIKeyExpiresAndShowsItsLastUse(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	account := as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": "ci", "role": "viewer"}), 201)
	wantProblem(t, s.call("POST", "/v1/service-accounts/"+account.ID.String()+"/api-keys", c.token, map[string]any{"name": "k", "expiresInSeconds": 1}), 422, husk.CodeInvalid, "expiresInSeconds")
	// The store accepts a shorter lifetime than the contract allows, so that the test does not have
	// to wait a minute.
	key, err := s.db.Tenant(c.owner).CreateAPIKey(t.Context(), account.ID, request.Of(t.Context()).Idempotency(nil), store.KeyRequest{Name: "short", Life: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := s.store.Authenticate(t.Context(), key.ClientID, key.Secret)
	if err != nil {
		t.Fatal(err)
	}
	keys := as[openapi.APIKeyList](t, s.call("GET", "/v1/service-accounts/"+account.ID.String()+"/api-keys", c.token, nil), 200).Items
	if len(keys) != 1 || keys[0].LastUsedAt == nil || keys[0].ExpiresAt == nil {
		t.Errorf("the keys are %+v", keys)
	}
	token := s.token(caller)
	deadline := time.Now().Add(patience)
	for s.call("GET", "/v1/pods", token, nil).status != 401 {
		if time.Now().After(deadline) {
			t.Fatal("a token of an expired key is still accepted")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := s.store.Authenticate(t.Context(), key.ClientID, key.Secret); husk.CodeOf(err) != husk.CodeUnauthenticated {
		t.Errorf("an expired key gets the response %v", err)
	}
}
