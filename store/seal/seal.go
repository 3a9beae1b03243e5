// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts secrets at rest.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrSealed means that a value cannot be opened, now or later.
var ErrSealed = errors.New("a sealed value does not open: it is damaged, it was moved from another row, or the server was not given its master key")

// Sealer encrypts secrets with AES-256-GCM. The owner of a secret is the additional data, so a sealed value that was moved to another row
// does not open. The first key seals; all keys open.
type Sealer struct {
	aeads []cipher.AEAD
	ID    string // of the first key
}

// KeySize is the length of a key, in bytes.
const KeySize = 32

// New returns a sealer with these keys of KeySize bytes.
func New(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("no master key given")
	}
	s := &Sealer{}
	for i, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("a master key must have %d bytes; number %d has %d", KeySize, i+1, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s.aeads = append(s.aeads, aead)
	}
	sum := sha256.Sum256(append([]byte("husk master key id "), keys[0]...))
	s.ID = hex.EncodeToString(sum[:8])
	return s, nil
}

// Seal encrypts a secret of an owner with the first key.
func (s *Sealer) Seal(plain []byte, owner string) []byte {
	return s.aeads[0].Seal(nil, nil, plain, []byte(owner))
}

// Open decrypts a secret of an owner with any of the keys.
func (s *Sealer) Open(sealed []byte, owner string) ([]byte, error) {
	plain, _, err := s.OpenNoting(sealed, owner)
	return plain, err
}

// OpenNoting also reports whether the value was sealed with a key other than the first, and so should be sealed again.
func (s *Sealer) OpenNoting(sealed []byte, owner string) (plain []byte, old bool, err error) {
	for i, aead := range s.aeads {
		if plain, err := aead.Open(nil, nil, sealed, []byte(owner)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrSealed
}

// NewSecret returns 32 random bytes in text form, for client secrets and join tokens.
func NewSecret() string { return rand.Text() + rand.Text() }
