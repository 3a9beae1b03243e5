// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"husk/strictjson"
)

const (
	maxToken = 16 << 10 // bytes; a token with hundreds of groups has half of that
	maxDepth = 16       // of the JSON in a token
)

// algorithms are the accepted signatures: asymmetric, with keys of the right kind (keys.go). With a
// shared secret, everyone who can verify could also sign, and "none" is no signature (RFC 8725
// §3.1).
var algorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// token is a parsed token that is not verified yet.
type token struct {
	alg, kid  string
	signed    string // the part that is signed
	signature []byte
	claims    map[string]any
}

// parse parses a token. It returns a *RefusedError.
func parse(raw string) (*token, error) {
	if len(raw) > maxToken {
		return nil, refuse(fmt.Sprintf("it is longer than %d bytes", maxToken), nil)
	}
	if strings.ContainsAny(raw, "\r\n") { // encoding/base64 would skip them
		return nil, refuse("it is not a signed JWT", errors.New("a line break"))
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, refuse("it is not a signed JWT", fmt.Errorf("%d parts", len(parts)))
	}
	header, err := object(parts[0])
	if err != nil {
		return nil, refuse("its header cannot be read", err)
	}
	t := &token{signed: parts[0] + "." + parts[1]}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	if t.claims, err = object(parts[1]); err != nil {
		return nil, refuse("its claims cannot be read", err)
	}
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return nil, refuse("its signature cannot be read", err)
	}
	return t, nil
}

// object decodes a part that is a JSON object. Numbers become json.Number.
func object(part string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, err
	}
	if err := strictjson.Check(data, maxDepth); err != nil {
		return nil, err
	}
	var o map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("null is not an object")
	}
	return o, nil
}

// readHeader reads which key to look for. A header cannot contain its own key: OpenID Connect Core
// §2 forbids the parameters that refer to one elsewhere. It cannot require extensions either,
// because none is supported (RFC 7515 §4.1.11).
func (t *token) readHeader(header map[string]any) error {
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip"} {
		if _, ok := header[name]; ok {
			return refuse(fmt.Sprintf("its header has %q, which an ID token must not have", name), nil)
		}
	}
	var okAlg, okKid, okType bool
	t.alg, okAlg = header["alg"].(string)
	t.kid, okKid = header["kid"].(string)
	if _, given := header["kid"]; given && !okKid {
		return refuse("its header cannot be read", errors.New("kid is not a string"))
	}
	if !okAlg || !slices.Contains(algorithms, t.alg) {
		return refuse("it is not signed with one of "+strings.Join(algorithms, ", "), nil)
	}
	// Access tokens (at+jwt) and logout tokens of the same issuer are signed with the same keys.
	kind, okType := header["typ"].(string)
	if _, given := header["typ"]; given && (!okType || !strings.EqualFold(kind, "JWT")) {
		return refuse("it is a token of another type, not an ID token", nil)
	}
	return nil
}

// signedBy looks for the key that the token names. known reports whether there is one; err is nil
// if the key signed the token. A token that names no key is accepted if the issuer has only one for
// its algorithm (OpenID Connect Core §10.1).
func (t *token) signedBy(keys []key) (known bool, err error) {
	var candidates []key
	for _, k := range keys {
		if t.kid != "" && k.id != t.kid {
			continue
		}
		known = known || t.kid != ""
		if k.fits(t.alg) {
			candidates = append(candidates, k)
		}
	}
	switch {
	case t.kid != "" && !known:
		return false, refuse("it is signed with a key that the issuer does not publish", nil)
	case t.kid == "" && len(candidates) > 1:
		return true, refuse("it names no key, and the issuer has several", nil)
	}
	err = fmt.Errorf("no key for %s", t.alg)
	for _, k := range candidates {
		if err = jwt.GetSigningMethod(t.alg).Verify(t.signed, t.signature, k.public); err == nil {
			return true, nil
		}
	}
	return known, refuse("its signature is wrong", err)
}
