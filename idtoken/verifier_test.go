// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestATokenOfEachAlgorithmIsAccepted(t *testing.T) {
	t.Parallel()
	var signers []signer
	for _, alg := range algorithms {
		signers = append(signers, newSigner(t, "key-"+alg, alg))
	}
	i := startIssuer(t, signers...)
	now := time.Now().Truncate(time.Second)
	v := New(Config{Egress: local})
	for _, s := range signers {
		raw := s.sign(t, s.header(), with(i.url, now, map[string]any{
			"email": "someone@example.com", "email_verified": "true", "name": "Some One", "aud": []string{"x", client}, "azp": client, "groups": []string{"a", "b"},
		}))
		got, err := v.Verify(t.Context(), i.url, client, raw)
		if err != nil {
			t.Errorf("%s: %v", s.alg, err)
			continue
		}
		groups := got.Raw["groups"]
		got.Raw = nil
		want := Claims{Issuer: i.url, Subject: "subject", Email: "someone@example.com", EmailVerified: true, Name: "Some One", Expires: now.Add(time.Hour)}
		if diff := cmp.Diff(want, got) + cmp.Diff(any([]any{"a", "b"}), groups); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.alg, diff)
		}
	}
}

func TestClaimsAreChecked(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "1", "EdDSA")
	i := startIssuer(t, s)
	c := newClock()
	now := c.now()
	v := New(Config{Egress: local, Now: c.now})
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for what, tt := range map[string]struct {
		changes map[string]any
		want    string // "" if the token is accepted
	}{
		"good":                            {nil, ""},
		"another issuer":                  {map[string]any{"iss": "https://issuer.example.com"}, "another issuer"},
		"issuer with a slash":             {map[string]any{"iss": i.url + "/"}, "another issuer"},
		"no issuer":                       {map[string]any{"iss": nil}, "another issuer"},
		"another audience":                {map[string]any{"aud": "other"}, "another client"},
		"no audience":                     {map[string]any{"aud": nil}, "another client"},
		"audience in other case":          {map[string]any{"aud": "Husk"}, "another client"},
		"audience as a number":            {map[string]any{"aud": 1}, "another client"},
		"list of one":                     {map[string]any{"aud": []string{client}}, ""},
		"several, azp is another client":  {map[string]any{"aud": []string{client, "x"}, "azp": "x"}, "several clients"},
		"several, without azp":            {map[string]any{"aud": []string{client, "x"}}, "several clients"},
		"several, azp is this client":     {map[string]any{"aud": []string{"x", client}, "azp": client}, ""},
		"expired":                         {map[string]any{"exp": in(-31 * time.Second)}, "expired"},
		"expired within the leeway":       {map[string]any{"exp": in(-28 * time.Second)}, ""},
		"never expires":                   {map[string]any{"exp": nil}, "no expiry time"},
		"expires as text":                 {map[string]any{"exp": "9999999999"}, "not a time"},
		"expires far beyond":              {map[string]any{"exp": 1e300}, "not a time"},
		"expires at a negative time":      {map[string]any{"exp": -1}, "not a time"},
		"expires in fractions":            {map[string]any{"exp": float64(in(time.Minute)) + 0.5}, ""},
		"not yet":                         {map[string]any{"nbf": in(32 * time.Second)}, "not valid yet"},
		"not yet, within the leeway":      {map[string]any{"nbf": in(28 * time.Second)}, ""},
		"issued tomorrow":                 {map[string]any{"iat": in(24 * time.Hour)}, "not valid yet"},
		"no subject":                      {map[string]any{"sub": nil}, "subject"},
		"empty subject":                   {map[string]any{"sub": ""}, "subject"},
		"long subject":                    {map[string]any{"sub": strings.Repeat("x", 256)}, "subject"},
		"longest subject":                 {map[string]any{"sub": strings.Repeat("x", 255)}, ""},
		"subject with NUL":                {map[string]any{"sub": "a\x00"}, "subject"},
		"subject with a non-ASCII letter": {map[string]any{"sub": "é"}, "subject"},
		"email as a list":                 {map[string]any{"email": []string{"a"}}, `"email"`},
		"name with a line break":          {map[string]any{"name": "a\nb"}, `"name"`},
	} {
		_, err := v.Verify(t.Context(), i.url, client, s.sign(t, s.header(), with(i.url, now, tt.changes)))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		wantReason(t, what, err, tt.want)
	}
	_, err := v.Verify(t.Context(), i.url, "", s.sign(t, s.header(), with(i.url, now, map[string]any{"aud": ""})))
	wantReason(t, "no client", err, "another client")
}

func TestForgedAndBrokenTokensAreRefused(t *testing.T) {
	t.Parallel()
	good, other, public := newSigner(t, "1", "RS256"), newSigner(t, "1", "EdDSA"), newSigner(t, "2", "ES384")
	i := startIssuer(t, good, public)
	elsewhere := startIssuer(t, other) // publishes the forger's key
	now := time.Now()
	claims := with(i.url, now, nil)
	v := New(Config{Egress: local})
	accepted := good.sign(t, good.header(), claims)
	if _, err := v.Verify(t.Context(), i.url, client, accepted); err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(accepted, ".")
	der, err := x509.MarshalPKIXPublicKey(good.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	// The public key as the secret of an HMAC, as it is published.
	hmac := part([]byte(`{"alg":"HS256","kid":"1"}`)) + "." + parts[1]
	signature, err := jwt.SigningMethodHS256.Sign(hmac, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	twice := strings.Replace(claims, `{`, `{"sub":"admin",`, 1)
	for what, tt := range map[string]struct{ raw, want string }{
		"nothing":                       {"", "not a signed JWT"},
		"dots":                          {"..", "header cannot be read"},
		"four parts":                    {accepted + ".x", "not a signed JWT"},
		"a line break":                  {accepted + "\n", "not a signed JWT"},
		"huge":                          {good.sign(t, good.header(), with(i.url, now, map[string]any{"x": strings.Repeat("x", 16<<10)})), "longer than 16384"},
		"none":                          {part([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "not signed with one of"},
		"none with a signature":         {part([]byte(`{"alg":"none","kid":"1"}`)) + "." + parts[1] + "." + parts[2], "not signed with one of"},
		"None":                          {part([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".", "not signed with one of"},
		"no algorithm":                  {part([]byte(`{"kid":"1"}`)) + "." + parts[1] + "." + parts[2], "not signed with one of"},
		"HS256 with the public key":     {hmac + "." + part(signature), "not signed with one of"},
		"RS512":                         {part([]byte(`{"alg":"RS512","kid":"1"}`)) + "." + parts[1] + "." + parts[2], "not signed with one of"},
		"no signature":                  {parts[0] + "." + parts[1] + ".", "signature is wrong"},
		"another's claims":              {parts[0] + "." + part([]byte(with(i.url, now, map[string]any{"sub": "admin"}))) + "." + parts[2], "signature is wrong"},
		"another's key":                 {other.sign(t, other.header(), claims), "signature is wrong"},
		"another key of the issuer":     {public.sign(t, strings.Replace(public.header(), `"2"`, `"1"`, 1), claims), "signature is wrong"},
		"an unknown key":                {other.sign(t, strings.Replace(other.header(), `"1"`, `"9"`, 1), claims), "does not publish"},
		"a curve of another length":     {public.sign(t, strings.Replace(public.header(), `ES384`, `ES256`, 1), claims), "signature is wrong"},
		"signature with spare bits":     {parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "_", "signature"},
		"padding":                       {accepted + "=", "signature cannot be read"},
		"claims twice":                  {good.sign(t, good.header(), twice), "claims cannot be read"},
		"claims twice, escaped":         {good.sign(t, good.header(), strings.Replace(claims, `{`, `{"\u0073ub":"admin",`, 1)), "claims cannot be read"},
		"header twice":                  {good.sign(t, `{"alg":"RS256","kid":"1","alg":"RS256"}`, claims), "header cannot be read"},
		"claims that are a list":        {good.sign(t, good.header(), `[`+claims+`]`), "claims cannot be read"},
		"claims that are null":          {good.sign(t, good.header(), `null`), "claims cannot be read"},
		"claims with something more":    {good.sign(t, good.header(), claims+`{}`), "claims cannot be read"},
		"deep claims":                   {good.sign(t, good.header(), strings.Replace(claims, `{`, `{"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`,`, 1)), "claims cannot be read"},
		"a key ID that is not a string": {good.sign(t, `{"alg":"RS256","kid":1}`, claims), "header cannot be read"},
		"an access token":               {good.sign(t, `{"alg":"RS256","kid":"1","typ":"at+jwt"}`, claims), "another type"},
		"a critical extension":          {good.sign(t, `{"alg":"RS256","kid":"1","crit":["x"],"x":1}`, claims), `"crit"`},
		"keys elsewhere":                {other.sign(t, fmt.Sprintf(`{"alg":"EdDSA","kid":"1","jku":%q}`, elsewhere.url+"/keys"), claims), `"jku"`},
		"certificates elsewhere":        {other.sign(t, fmt.Sprintf(`{"alg":"EdDSA","kid":"1","x5u":%q}`, elsewhere.url+"/keys"), claims), `"x5u"`},
		"a key of its own":              {other.sign(t, `{"alg":"EdDSA","kid":"1","jwk":{"kty":"OKP"}}`, claims), `"jwk"`},
		"no key ID, and another key":    {other.sign(t, `{"alg":"EdDSA"}`, claims), "signature is wrong"},
	} {
		_, err := v.Verify(t.Context(), i.url, client, tt.raw)
		wantReason(t, what, err, tt.want)
	}
	if n := elsewhere.count("/keys"); n > 0 {
		t.Errorf("there were %d requests for URLs in tokens", n)
	}
}

func TestATokenWithoutAKeyIdNeedsAnIssuerWithOneKey(t *testing.T) {
	t.Parallel()
	a, b, ec := newSigner(t, "a", "EdDSA"), newSigner(t, "b", "EdDSA"), newSigner(t, "c", "ES256")
	i := startIssuer(t, a, ec)
	c := newClock()
	v := New(Config{Egress: local, Now: c.now})
	raw := a.sign(t, `{"alg":"EdDSA"}`, with(i.url, c.now(), nil))
	if _, err := v.Verify(t.Context(), i.url, client, raw); err != nil {
		t.Error(err)
	}
	i.publish(a, b)
	c.advance(keysFresh)
	_, err := v.Verify(t.Context(), i.url, client, raw)
	wantReason(t, "two keys", err, "several")
	i.publish(b)
	c.advance(keysFresh)
	_, err = v.Verify(t.Context(), i.url, client, raw)
	wantReason(t, "another key", err, "signature is wrong")
	i.publish(a)
	c.advance(askInterval)
	if _, err := v.Verify(t.Context(), i.url, client, raw); err != nil {
		t.Errorf("after the key came back: %v", err)
	}
}

func TestUnusableKeysAreIgnored(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := newSigner(t, "good", "EdDSA")
	short, private, secret, encryption, other := jose.JSONWebKey{KeyID: "weak", Key: weak.Public()}, jose.JSONWebKey{KeyID: "private", Key: good.private},
		jose.JSONWebKey{KeyID: "secret", Key: []byte("0123456789abcdef0123456789abcdef")}, good.jwk(), good.jwk()
	encryption.KeyID, encryption.Use = "encryption", "enc"
	other.KeyID, other.Algorithm = "other", "ES256"
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{short, private, secret, encryption, other, good.jwk()}}
	i := startIssuer(t)
	i.change(func() { i.keys = set })
	v := New(Config{Egress: local})
	if err := v.Check(t.Context(), i.url); err != nil {
		t.Fatal(err)
	}
	for kid, want := range map[string]string{
		"good": "", "private": "not publish", "secret": "not publish", "encryption": "not publish", "other": "signature is wrong", "weak": "not publish",
	} {
		s := good
		s.id = kid
		if kid == "weak" {
			s.alg, s.private = "RS256", weak
		}
		_, err := v.Verify(t.Context(), i.url, client, s.sign(t, s.header(), with(i.url, time.Now(), nil)))
		if want != "" {
			wantReason(t, kid, err, want)
		} else if err != nil {
			t.Errorf("%s: %v", kid, err)
		}
	}
}

// For any input, parsing returns either a complete token or a refusal with a reason that can be
// shown.
func FuzzParse(f *testing.F) {
	s := newSigner(f, "1", "EdDSA")
	f.Add(s.sign(f, s.header(), with("https://issuer.example.com", time.Unix(1e9, 0), nil)))
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := parse(raw)
		if err != nil {
			if reason(err) == "" {
				t.Errorf("%q: %v is not a refusal", raw, err)
			}
			return
		}
		if _, err := check(parsed.claims, "https://issuer.example.com", client, time.Unix(1e9, 0)); err != nil && reason(err) == "" {
			t.Errorf("%q: %v is not a refusal", raw, err)
		}
		if _, err := parsed.signedBy([]key{{id: parsed.kid, public: s.private.Public()}}); err == nil && parsed.alg != "EdDSA" {
			t.Errorf("%q is signed with %s", raw, parsed.alg)
		}
	})
}
