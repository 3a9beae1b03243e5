// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"husk/strictjson"
)

const (
	maxKeys    = 100  // of an issuer; large ones publish about ten
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192 // a hostile issuer could make verification slow with a larger key
)

// key is a public key of an issuer.
type key struct {
	id, alg string // alg may be "": any suitable algorithm
	public  crypto.PublicKey
}

// fits reports whether the key is for this algorithm. Curves are part of the algorithm (RFC 7518
// §3.4).
func (k key) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == "ES256" && public.Curve == elliptic.P256() || alg == "ES384" && public.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return alg == "EdDSA"
	default:
		return false
	}
}

// parseKeys reads a JWK set. Unsupported keys are ignored, as RFC 7517 §5 says; a set without any
// supported key is an error.
func parseKeys(data []byte) ([]key, error) {
	if err := strictjson.Check(data, maxDepth); err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []key
	var failures []error
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			failures = append(failures, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.Join(append([]error{errors.New("no supported key")}, failures...)...)
	}
	return keys, nil
}

func parseKey(raw []byte) (key, error) {
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(raw, &jwk); err != nil {
		return key{}, err
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return key{}, fmt.Errorf("its use is %q", jwk.Use)
	}
	switch public := jwk.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return key{}, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default: // secrets, private keys
		return key{}, fmt.Errorf("a %T is not a public key", jwk.Key)
	}
	return key{id: jwk.KeyID, alg: jwk.Algorithm, public: jwk.Key}, nil
}
