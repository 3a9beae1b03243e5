// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"husk/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const client = "husk"

// local allows issuers on loopback, over plain HTTP.
var local = egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}

// clock is a time that tests advance.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// signer is a key pair with an id.
type signer struct {
	id, alg string
	private crypto.Signer
}

// rsaKey is generated only once, because that is slow.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newSigner(t testing.TB, id, alg string) signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "RS256", "PS256":
		private = rsaKey()
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, alg, private}
}

func (s signer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{KeyID: s.id, Use: "sig", Key: s.private.Public()}
}

// sign signs a token with a header and claims as text, so that tests can use invalid JSON.
func (s signer) sign(t testing.TB, header, claims string) string {
	t.Helper()
	over := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	var private any = s.private
	signature, err := jwt.GetSigningMethod(s.alg).Sign(over, private)
	if err != nil {
		t.Fatal(err)
	}
	return over + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (s signer) header() string { return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, s.alg, s.id) }

// with returns valid claims with these changes. A nil removes the claim.
func with(issuer string, now time.Time, changes map[string]any) string {
	c := map[string]any{"iss": issuer, "aud": client, "sub": "subject", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	maps.Copy(c, changes)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// issuer is an issuer that tests control.
type issuer struct {
	url string

	mu       sync.Mutex
	keys     any    // the published keys
	document string // the discovery document, if not the usual one
	status   int    // the status of the keys' response, if not 200
	keysPath string // the path of the keys, /keys
	requests map[string]int
	onAsk    func() // called with each request
}

func startIssuer(t testing.TB, signers ...signer) *issuer {
	t.Helper()
	i := &issuer{requests: map[string]int{}, keysPath: "/keys"}
	i.publish(signers...)
	s := httptest.NewServer(i)
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

func (i *issuer) publish(signers ...signer) {
	set := jose.JSONWebKeySet{}
	for _, s := range signers {
		set.Keys = append(set.Keys, s.jwk())
	}
	i.change(func() { i.keys = set })
}

func (i *issuer) change(do func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	do()
}

func (i *issuer) count(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[path]
}

// ServeHTTP implements http.Handler.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests[r.URL.Path]++
	if i.onAsk != nil {
		i.onAsk()
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		if i.document != "" {
			fmt.Fprint(w, i.document)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.url, i.url+i.keysPath)
	case i.keysPath:
		if i.status != 0 {
			w.WriteHeader(i.status)
			return
		}
		if text, ok := i.keys.(string); ok {
			fmt.Fprint(w, text)
			return
		}
		if err := json.NewEncoder(w).Encode(i.keys); err != nil {
			panic(err)
		}
	default:
		http.NotFound(w, r)
	}
}

// reason returns the reason of a refusal, or "" if the token was not refused.
func reason(err error) string {
	if refused, ok := err.(*RefusedError); ok { //nolint:errorlint // the error must not be wrapped, because callers rely on its type
		return refused.Reason
	}
	return ""
}

func wantReason(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := reason(err); got == "" || !strings.Contains(got, want) {
		t.Errorf("%s: %v, want a refusal with %q", what, err, want)
	}
}
