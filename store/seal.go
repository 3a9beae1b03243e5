package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// sealer keeps secrets at rest with AES-256-GCM. What a secret belongs to is the additional data, so that a sealed value moved to
// another row does not open.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (*sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("the master key must have 32 bytes, not %d", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

func (s *sealer) seal(plain []byte, owner string) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(owner))
}

func (s *sealer) open(sealed []byte, owner string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return nil, errors.New("a sealed value does not open: it is damaged, was moved from another row, or the master key is not the one it was sealed with")
	}
	return plain, nil
}

// NewSecret returns 32 random bytes in text form, for client secrets and join tokens.
func NewSecret() string { return rand.Text() + rand.Text() }
