// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
)

// authorizedKind returns the kind of caller that is authorized for an operation. It uses the path,
// independently of the server's table.
func authorizedKind(op operation) husk.CallerKind {
	switch {
	case op.path == "/v1/agent/register":
		return ""
	case op.path == "/v1/whoami" || op.path == "/v1/platform":
		return "tenant or operator"
	case strings.HasPrefix(op.path, "/v1/admin/"), op.path == "/metrics":
		return husk.CallerOperator
	case strings.HasPrefix(op.path, "/v1/agent/"):
		return husk.CallerAgent
	case strings.HasPrefix(op.path, "/v1/"):
		return husk.CallerTenant
	default:
		return ""
	}
}

func TestEveryOperationForEveryCaller(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, agent := s.node()
	tenant, operator := s.tenant().token, s.operator()
	// Each caller with its credentials: a token, a certificate, or both. A certificate authorizes
	// only agents, and only for their operations.
	type caller struct {
		fixture
		token string
		kind  husk.CallerKind
	}
	callers := map[string]caller{
		"nobody": {s, "", ""}, "garbage": {s, "garbage", ""}, "a tenant": {s, tenant, husk.CallerTenant}, "an operator": {s, operator, husk.CallerOperator},
		"an agent": {agent, "", husk.CallerAgent}, "an agent with garbage": {agent, "garbage", husk.CallerAgent},
		"a token of kind agent": {s, s.token(husk.Caller{Kind: husk.CallerAgent}), ""},
	}
	all := operations(s.contract.spec)
	if len(all) < 30 {
		t.Fatalf("the contract has only %d operations", len(all))
	}
	for _, op := range all {
		want := authorizedKind(op)
		for who, c := range callers {
			var body any
			if op.method == "POST" || op.method == "PATCH" {
				body = map[string]any{}
			}
			a := c.call(op.method, op.path, c.token, body)
			switch {
			case want == "" || want == c.kind || want == "tenant or operator" && (c.kind == husk.CallerTenant || c.kind == husk.CallerOperator):
				if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status >= 500 {
					t.Errorf("%s by %s: %d %s", op.id, who, a.status, a.body)
				}
			case want == husk.CallerAgent || c.kind == "" || c.kind == husk.CallerAgent: // a token does not replace a certificate, nor a certificate a token
				wantProblem(t, a, http.StatusUnauthorized, husk.CodeUnauthenticated, "")
				if a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s by %s: no WWW-Authenticate", op.id, who)
				}
			default:
				wantProblem(t, a, http.StatusForbidden, husk.CodeForbidden, "")
			}
		}
	}
}

func TestAServerDoesNotStartWithAnIncompleteAccessTable(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(map[string]accessRule){
		"GET /v1/pods (ListPods) has no access rule":                                 func(a map[string]accessRule) { delete(a, "ListPods") },
		"CreatePod): contract and access table disagree on whether it is public":     func(a map[string]accessRule) { a["CreatePod"] = public },
		"IssueToken): contract and access table disagree on whether it is public":    func(a map[string]accessRule) { a["IssueToken"] = viewers },
		"Heartbeat): contract and access table disagree on whether it is for agents": func(a map[string]accessRule) { a["Heartbeat"] = operators },
		"ListPods): contract and access table disagree on whether it is for agents":  func(a map[string]accessRule) { a["ListPods"] = nodeAgents },
		"access table: LaunchRocket has an access rule but is not in the contract":   func(a map[string]accessRule) { a["LaunchRocket"] = operators },
	} {
		table := maps.Clone(access)
		change(table)
		if err := checkAccessTable(spec, table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}

// forge signs claims as the server does, after spoil has changed them.
func (s fixture) forge(spoil func(c jwt.MapClaims, token *jwt.Token) any) string {
	s.t.Helper()
	keys, err := s.store.SigningKeys(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	now := time.Now()
	c := jwt.MapClaims{
		"iss": issuer, "aud": tokenAudience, "sub": s.operatorID.String(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(), "kind": "operator",
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	token.Header["kid"] = keys[0].ID
	var key any = ed25519.NewKeyFromSeed(keys[0].Private)
	if other := spoil(c, token); other != nil {
		key = other
	}
	signed, err := token.SignedString(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	if a := s.call("GET", "/v1/admin/tenants", s.forge(func(jwt.MapClaims, *jwt.Token) any { return nil }), nil); a.status != 200 {
		t.Fatalf("the unchanged token is refused: %s", a.body)
	}
	keys, err := s.store.SigningKeys(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(keys[0].Public))
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour).Unix()
	good := s.forge(func(jwt.MapClaims, *jwt.Token) any { return nil })
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	another := open(t)
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a token made the server send a request to %s", r.URL)
	}))
	t.Cleanup(trap.Close)
	changed := func() string {
		raw, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		c["sub"] = uuid.NewString()
		if raw, err = json.Marshal(c); err != nil {
			t.Fatal(err)
		}
		return head + "." + base64.RawURLEncoding.EncodeToString(raw) + "." + signature
	}()
	for name, token := range map[string]string{
		"alg none": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Method, token.Header["alg"] = jwt.SigningMethodNone, "none"
			return jwt.UnsafeAllowNoneSignatureType
		}),
		"HS256 with the public key": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Method, token.Header["alg"] = jwt.SigningMethodHS256, "HS256"
			return keys[0].Public
		}),
		"HS256 with the public key in PEM": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Method, token.Header["alg"] = jwt.SigningMethodHS256, "HS256"
			return asPEM
		}),
		"another's key":        s.forge(func(jwt.MapClaims, *jwt.Token) any { return stranger }),
		"another audience":     s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["aud"] = "other"; return nil }),
		"no audience":          s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { delete(c, "aud"); return nil }),
		"another issuer":       s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["iss"] = "https://evil.example.com"; return nil }),
		"no issuer":            s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { delete(c, "iss"); return nil }),
		"expired":              s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["exp"] = past; return nil }),
		"never expiring":       s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { delete(c, "exp"); return nil }),
		"not valid yet":        s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["nbf"] = time.Now().Add(time.Hour).Unix(); return nil }),
		"issued in the future": s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["iat"] = time.Now().Add(time.Hour).Unix(); return nil }),
		"no key id":            s.forge(func(_ jwt.MapClaims, token *jwt.Token) any { delete(token.Header, "kid"); return nil }),
		"an unknown key id":    s.forge(func(_ jwt.MapClaims, token *jwt.Token) any { token.Header["kid"] = "x"; return nil }),
		"a number as key id":   s.forge(func(_ jwt.MapClaims, token *jwt.Token) any { token.Header["kid"] = 5; return nil }),
		"a key of its own": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Header["kid"] = "x"
			token.Header["jwk"] = map[string]any{"kty": "OKP"}
			return stranger
		}),
		"no subject":           s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { delete(c, "sub"); return nil }),
		"the kind of an agent": s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["kind"] = "agent"; return nil }),
		"an unknown kind":      s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["kind"] = "emperor"; return nil }),
		"an operator's tenant": s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["tenant"] = uuid.NewString(); return nil }),
		"a tenant's without":   s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["kind"] = "tenant"; return nil }),
		"changed claims":       changed,
		"no signature":         head + "." + payload + ".",
		"too few parts":        head + "." + payload,
		"nothing":              " ",
		"a long one":           strings.Repeat("a", 20_000),
		"ten thousand dots":    strings.Repeat(".", 10_000),
		"RS256 with the Ed25519 key": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Method, token.Header["alg"] = jwt.SigningMethodRS256, "RS256"
			return rsaKey
		}),
		"RS256 and a key in its header": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Method, token.Header["alg"] = jwt.SigningMethodRS256, "RS256"
			token.Header["jwk"] = map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(rsaKey.N.Bytes()), "e": "AQAB"}
			return rsaKey
		}),
		"a key id that is a path": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Header["kid"] = "../../../../dev/null"
			return stranger
		}),
		"a key id that is SQL": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Header["kid"] = "' UNION SELECT '\\x00'; DROP TABLE signing_keys; --"
			return stranger
		}),
		"a key somewhere else (jku)": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Header["kid"], token.Header["jku"] = "x", trap.URL
			return stranger
		}),
		"a key somewhere else (x5u)": s.forge(func(_ jwt.MapClaims, token *jwt.Token) any {
			token.Header["kid"], token.Header["x5u"] = "x", trap.URL
			return stranger
		}),
		"another installation":         another.operator(),
		"no start time":                s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { delete(c, "nbf"); return nil }),
		"an expiry that is not a time": s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["exp"] = "tomorrow"; return nil }),
		"a claim twice":                signRaw(t, keys[0], `{"iss":"`+issuer+`","aud":"husk","sub":"`+s.operatorID.String()+`","nbf":1,"exp":9999999999,"kind":"tenant","kind":"operator"}`),
		"a claim twice in escapes":     signRaw(t, keys[0], `{"iss":"`+issuer+`","aud":"husk","sub":"`+s.operatorID.String()+`","nbf":1,"exp":9999999999,"kind":"tenant","\u006bind":"operator"}`),
		"an operator that was removed": s.forge(func(c jwt.MapClaims, _ *jwt.Token) any { c["sub"] = uuid.NewString(); return nil }),
	} {
		a := s.call("GET", "/v1/admin/tenants", token, nil)
		if a.status != http.StatusUnauthorized || a.problem.Code != string(husk.CodeUnauthenticated) {
			t.Errorf("a token with %s gets the response %d %s", name, a.status, a.body)
		}
	}
}

// signRaw signs claims as given, even if a claim appears twice.
func signRaw(t *testing.T, key store.SigningKey, claims string) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"`+key.ID+`"}`)) + "." + enc([]byte(claims))
	signature, err := jwt.SigningMethodEdDSA.Sign(signed, ed25519.NewKeyFromSeed(key.Private))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + enc(signature)
}

// The tokens with duplicate claims are refused only because of the duplicates: with each claim
// once, the token is accepted.
func TestATokenWithEachClaimOnceIsAccepted(t *testing.T) {
	t.Parallel()
	s := open(t)
	keys, err := s.store.SigningKeys(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	token := signRaw(t, keys[0], `{"iss":"`+issuer+`","aud":"husk","sub":"`+s.operatorID.String()+`","nbf":1,"exp":9999999999,"kind":"operator"}`)
	if a := s.call("GET", "/v1/admin/tenants", token, nil); a.status != 200 {
		t.Errorf("the token gets the response %d %s", a.status, a.body)
	}
}

func TestAHeaderOfAMegabyteIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	hs := httptest.NewUnstartedServer(s.Handler())
	hs.Config.MaxHeaderBytes = MaxHeaderBytes
	hs.Start()
	t.Cleanup(hs.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hs.URL+"/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.Repeat(".", 1<<20))
	resp, err := hs.Client().Do(r)
	if err != nil {
		return // the server closed the connection while the client was still sending
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("the request gets the response %s", resp.Status)
	}
}

func TestARemovedSigningKeyNoLongerVerifiesTokens(t *testing.T) {
	t.Parallel()
	s := open(t)
	old := s.operator()
	keys := as[openapi.SigningKeyList](t, s.call("GET", "/v1/admin/signing-keys", old, nil), 200).Items
	wantProblem(t, s.call("DELETE", "/v1/admin/signing-keys/"+keys[0].Kid, old, nil), http.StatusConflict, husk.CodeConflict, "") // the only one
	made := as[openapi.SigningKey](t, s.call("POST", "/v1/admin/signing-keys", old, nil), 201)
	if made.State != openapi.Published {
		t.Errorf("the new key is %s", made.State)
	}
	if a := s.call("GET", "/v1/admin/tenants", s.operator(), nil); a.status != 200 {
		t.Errorf("while a key is rotated, a token gets the response %d", a.status)
	}
	s.activateKey(made.Kid)
	fresh := s.operator()
	for deadline := time.Now().Add(patience); keyIDOf(t, fresh) != made.Kid; fresh = s.operator() { // the server reads the new keys a moment later
		if time.Now().After(deadline) {
			t.Fatal("the new key does not sign")
		}
		time.Sleep(20 * time.Millisecond)
	}
	for name, token := range map[string]string{"of the old key": old, "of the new key": fresh} {
		if a := s.call("GET", "/v1/admin/tenants", token, nil); a.status != 200 {
			t.Errorf("after a rotation a token %s gets the response %d %s", name, a.status, a.body)
		}
	}
	if a := s.call("DELETE", "/v1/admin/signing-keys/"+keys[0].Kid, fresh, nil); a.status != 204 {
		t.Fatalf("removing the old key gets the response %d %s", a.status, a.body)
	}
	deadline := time.Now().Add(patience)
	for s.call("GET", "/v1/admin/tenants", old, nil).status != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("a token of a removed key is still accepted")
		}
	}
	if a := s.call("GET", "/v1/admin/tenants", fresh, nil); a.status != 200 {
		t.Errorf("a token of the other key gets the response %d", a.status)
	}
}

// keyIDOf returns the ID of the key that signed a token.
func keyIDOf(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	var header struct{ Kid string }
	if err = errors.Join(err, json.Unmarshal(raw, &header)); err != nil {
		t.Fatalf("the header of the token %q: %v", token, err)
	}
	return header.Kid
}

// activateKey skips the time during which a new key is published but does not sign yet.
func (s fixture) activateKey(kid string) {
	s.t.Helper()
	c, err := pgx.Connect(s.t.Context(), s.database(store.RoleControl))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close(s.t.Context())
	if _, err := c.Exec(s.t.Context(), "UPDATE signing_keys SET signs_from = clock_timestamp() WHERE kid = $1", kid); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Exec(s.t.Context(), "NOTIFY husk, 'signing-keys'"); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		keys, err := s.store.SigningKeys(s.t.Context(), nil)
		if err == nil && signingNow(keys).ID == kid {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the key %s does not sign: %v", kid, err)
		}
	}
}

func TestTheAuthorizationSchemeIsCaseInsensitive(t *testing.T) {
	t.Parallel()
	s := open(t)
	for header, status := range map[string]int{"bearer ": 200, "BEARER ": 200, "Basic ": 401, "": 401} {
		r := s.request("GET", "/v1/admin/tenants", "", nil, "Authorization", header+s.operator())
		if a := s.send(r); a.status != status {
			t.Errorf("%q gets the response %d", header, a.status)
		}
	}
}

func TestClientCredentialsGetAToken(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	key := as[openapi.APIKeyWithSecret](t, s.call("POST", "/v1/admin/tenants/"+c.id.String()+"/api-keys", s.operator(), map[string]any{"name": "ci"}), 201)
	ask := func(form url.Values, basic ...string) response {
		t.Helper()
		r := s.request("POST", "/oauth2/token", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if len(basic) == 2 {
			r.SetBasicAuth(basic[0], basic[1])
		}
		return s.send(r)
	}
	grant := url.Values{"grant_type": {"client_credentials"}}
	for _, secret := range []string{"a secret of the operator", "a+secret+of+the+operator"} { // as curl encodes it, and as RFC 6749 requires
		as[openapi.Token](t, ask(grant, s.operatorID.String(), secret), 200)
	}
	if a := ask(grant, s.operatorID.String(), "a%20secret+of+another"); a.status != 401 {
		t.Errorf("a wrong secret gets the response %d", a.status)
	}
	inForm := url.Values{"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {key.ClientSecret}}
	for name, a := range map[string]response{"in the form": ask(inForm), "as basic authentication": ask(grant, key.ClientID.String(), key.ClientSecret)} {
		token := as[openapi.Token](t, a, 200)
		if a := s.call("GET", "/v1/pods", token.AccessToken, nil); a.status != 200 {
			t.Errorf("the token that was requested %s is refused: %s", name, a.body)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the token requested %s may be cached", name)
		}
	}
	type oauthError struct {
		Error string `json:"error"`
	}
	for name, c := range map[string]struct {
		a      response
		status int
		code   string
	}{
		"a wrong secret":    {ask(grant, key.ClientID.String(), "wrong"), 401, "invalid_client"},
		"an unknown client": {ask(grant, uuid.NewString(), key.ClientSecret), 401, "invalid_client"},
		"no client":         {ask(grant), 400, "invalid_request"},
		"no secret":         {ask(grant, key.ClientID.String(), ""), 400, "invalid_request"},
		"another grant":     {ask(url.Values{"grant_type": {"password"}}), 400, "unsupported_grant_type"},
	} {
		if got := as[oauthError](t, c.a, c.status); got.Error != c.code {
			t.Errorf("%s gets the response %s", name, c.a.body)
		}
	}
	if a := s.call("DELETE", "/v1/admin/tenants/"+c.id.String()+"/api-keys/"+key.ClientID.String(), s.operator(), nil); a.status != 204 {
		t.Errorf("revoking responds with %d", a.status)
	}
	if a := ask(inForm); a.status != 401 {
		t.Errorf("a revoked key still gets tokens: %d", a.status)
	}
}

func TestTheKeySetVerifiesOurTokens(t *testing.T) {
	t.Parallel()
	s := open(t)
	set := as[openapi.KeySet](t, s.call("GET", "/.well-known/jwks.json", "", nil), 200)
	_, err := jwt.Parse(s.operator(), func(token *jwt.Token) (any, error) {
		for _, k := range set.Keys {
			if k.Kid == token.Header["kid"] {
				return mustDecode(t, k.X), nil
			}
		}
		t.Fatalf("the key set %+v lacks the key %v", set, token.Header["kid"])
		return nil, nil
	}, jwt.WithValidMethods([]string{"EdDSA"}))
	if err != nil {
		t.Error(err)
	}
}

func mustDecode(t *testing.T, x string) ed25519.PublicKey {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signingNow returns the key that signs tokens now, which is the first in the list.
func signingNow(keys []store.SigningKey) store.SigningKey {
	for _, k := range keys {
		if !k.SignsFrom.After(time.Now()) {
			return k
		}
	}
	return keys[len(keys)-1]
}
