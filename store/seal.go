package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// sealer keeps secrets at rest with AES-256-GCM. What a secret belongs to is the additional data, so that a sealed value moved to
// another row does not open. The first key seals; all open.
type sealer struct {
	aeads []cipher.AEAD
	id    string // of the first key
}

const keySize = 32

func newSealer(keys ...[]byte) (*sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a master key is needed")
	}
	s := &sealer{}
	for i, key := range keys {
		if len(key) != keySize {
			return nil, fmt.Errorf("a master key must have %d bytes; number %d has %d", keySize, i+1, len(key))
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
	s.id = hex.EncodeToString(sum[:8])
	return s, nil
}

func (s *sealer) seal(plain []byte, owner string) []byte {
	return s.aeads[0].Seal(nil, nil, plain, []byte(owner))
}

func (s *sealer) open(sealed []byte, owner string) ([]byte, error) {
	plain, _, err := s.openNoting(sealed, owner)
	return plain, err
}

// openNoting also tells whether the value was sealed with a key that is not the first any more, and should be sealed anew.
func (s *sealer) openNoting(sealed []byte, owner string) (plain []byte, old bool, err error) {
	for i, aead := range s.aeads {
		if plain, err := aead.Open(nil, nil, sealed, []byte(owner)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, errors.New("a sealed value does not open: it is damaged, was moved from another row, or its master key is not among those the server was given")
}

// NewSecret returns 32 random bytes in text form, for client secrets and join tokens.
func NewSecret() string { return rand.Text() + rand.Text() }
