// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"husk"
	"husk/openapi"
	"husk/store"
)

// scraper creates a service account with the role owner and a key that is limited to metrics. It
// returns the key and a token for it.
func (s fixture) scraper(c tenancy) (openapi.APIKeyWithSecret, string) {
	s.t.Helper()
	account := as[openapi.ServiceAccount](s.t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": named("account"), "role": "owner"}), 201)
	key := as[openapi.APIKeyWithSecret](s.t, s.call("POST", "/v1/service-accounts/"+account.ID.String()+"/api-keys", c.token, map[string]any{"name": "prometheus", "limitedTo": "metrics"}), 201)
	return key, s.logIn(key)
}

func (s fixture) logIn(key openapi.APIKeyWithSecret) string {
	s.t.Helper()
	r := s.request("POST", "/oauth2/token", "", "grant_type=client_credentials")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(key.ClientID.String(), key.ClientSecret)
	return as[openapi.Token](s.t, s.send(r), 200).AccessToken
}

// The test lists the allowed operations independently of the access table. It calls every other
// operation of the contract with random IDs, and with valid requests for objects of the key's own
// tenant.
func TestAKeyThatIsLimitedToMetricsAllowsOnlyScraping(t *testing.T) {
	t.Parallel()
	w := newMatrix(t)
	_, token := w.scraper(w.victim)
	opened := 0
	for _, op := range operations(w.contract.spec) {
		attempts := []attempt{{path: op.path}}
		if make := aim[op.id]; make != nil {
			attempts = append(attempts, make(w.victimIDs())...)
		}
		if good, known := show[op.id]; known {
			attempts = append(attempts, good)
		}
		for _, a := range attempts {
			body := a.body
			if body == nil && (op.method == "POST" || op.method == "PATCH") {
				body = map[string]any{}
			}
			got := w.call(op.method, a.path, token, body)
			switch {
			case slices.Contains([]string{"GetTenantMetrics", "ListMetricsTargets", "WhoAmI", "GetPlatform"}, op.id):
				opened++
				if got.status != http.StatusOK {
					t.Errorf("%s gets the response %d %s", op.id, got.status, got.body)
				}
			case access[op.id].public: // a public operation ignores the token
			case strings.HasPrefix(op.path, "/v1/agent/"):
				wantProblem(t, got, http.StatusUnauthorized, husk.CodeUnauthenticated, "")
			default:
				wantProblem(t, got, http.StatusForbidden, husk.CodeForbidden, "")
				if !strings.HasPrefix(op.path, "/v1/admin/") && op.path != "/metrics" && !strings.Contains(openapi.Value(got.problem.Detail), "limited to metrics") {
					t.Errorf("%s does not say why: %s", op.id, openapi.Value(got.problem.Detail))
				}
			}
		}
	}
	if opened != 8 {
		t.Errorf("%d requests are allowed, want two for each of four operations", opened)
	}
}

func TestResponsesShowTheLimitOfAKey(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	key, token := s.scraper(c)
	limited := func(what string, got *openapi.KeyLimit) {
		t.Helper()
		if got == nil || *got != openapi.Metrics {
			t.Errorf("%s has the limit %v", what, got)
		}
	}
	limited("the new key", key.LimitedTo)
	limited("the token", as[openapi.Identity](t, s.call("GET", "/v1/whoami", token, nil), 200).LimitedTo)
	keys := "/v1/service-accounts/" + key.ServiceAccountID.String() + "/api-keys"
	limited("the list", as[openapi.APIKeyList](t, s.call("GET", keys, c.token, nil), 200).Items[0].LimitedTo)
	wantProblem(t, s.call("POST", keys, c.token, map[string]any{"name": "k", "limitedTo": "usage"}), 422, husk.CodeInvalid, "limitedTo")
	if who := s.call("GET", "/v1/whoami", c.token, nil); strings.Contains(who.body, "limitedTo") {
		t.Errorf("the response for a key without a limit is %s", who.body)
	}

	admin := "/v1/admin/tenants/" + c.id.String() + "/api-keys"
	request := map[string]any{"name": "prometheus", "serviceAccount": "monitoring", "limitedTo": "metrics"}
	given := as[openapi.APIKeyWithSecret](t, s.call("POST", admin, s.operator(), request, "Idempotency-Key", "once"), 201)
	limited("the operator's key", given.LimitedTo)
	limited("the repeated response", as[openapi.APIKeyWithSecret](t, s.call("POST", admin, s.operator(), request, "Idempotency-Key", "once"), 201).LimitedTo)
	wantProblem(t, s.call("GET", "/v1/quota", s.logIn(given), nil), 403, husk.CodeForbidden, "")
}

// A renewed token keeps its limit.
func TestARenewedTokenKeepsItsLimit(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, token := s.scraper(s.tenant())
	form := url.Values{"grant_type": {grantTokenExchange}, "subject_token_type": {typeAccessToken}, "subject_token": {token}}
	r := s.request("POST", "/oauth2/token", "", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	renewed := as[openapi.Token](t, s.send(r), 200).AccessToken
	wantProblem(t, s.call("GET", "/v1/pods", renewed, nil), 403, husk.CodeForbidden, "")
	if got := s.call("GET", "/v1/metrics", renewed, nil); got.status != http.StatusOK {
		t.Errorf("a scrape gets the response %d %s", got.status, got.body)
	}
}

// A server of an earlier version may have issued a token without a limit.
func TestATokenMustHaveTheLimitOfItsKey(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	key, token := s.scraper(c)
	caller, err := s.store.Authenticate(t.Context(), key.ClientID, key.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	without, with := caller, c.owner
	without.Limit, with.Limit = "", husk.LimitedToMetrics
	for name, wrong := range map[string]string{"a limited key": s.token(without), "a key without a limit": s.token(with)} {
		for _, path := range []string{"/v1/whoami", "/v1/metrics", "/v1/metrics/targets"} {
			if got := s.call("GET", path, wrong, nil); got.status != http.StatusUnauthorized {
				t.Errorf("%s: a token of %s with another limit gets the response %d %s", path, name, got.status, got.body)
			}
		}
	}
	wantProblem(t, s.call("GET", "/v1/pods", s.token(without), nil), 401, husk.CodeUnauthenticated, "")

	// This also applies while a server that is scraped remembers the key.
	if got := s.scrape(token); got.status != http.StatusOK {
		t.Fatalf("a scrape gets the response %d %s", got.status, got.body)
	}
	if _, err := s.connect(store.RoleControl).Exec(t.Context(), "UPDATE api_keys SET limited_to = '' WHERE client_id = $1", key.ClientID); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, s.scrape(token), 401, husk.CodeUnauthenticated, "")
}
