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

// Sealer keeps secrets at rest with AES-256-GCM. What a secret belongs to is the additional data, so that a sealed value moved to
// another row does not open. The first key seals; all open.
type Sealer struct {
	aeads []cipher.AEAD
	ID    string // of the first key
}

const KeySize = 32

func New(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a master key is needed")
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

func (s *Sealer) Seal(plain []byte, owner string) []byte {
	return s.aeads[0].Seal(nil, nil, plain, []byte(owner))
}

func (s *Sealer) Open(sealed []byte, owner string) ([]byte, error) {
	plain, _, err := s.OpenNoting(sealed, owner)
	return plain, err
}

// OpenNoting also tells whether the value was sealed with a key that is not the first any more, and should be sealed anew.
func (s *Sealer) OpenNoting(sealed []byte, owner string) (plain []byte, old bool, err error) {
	for i, aead := range s.aeads {
		if plain, err := aead.Open(nil, nil, sealed, []byte(owner)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, errors.New("a sealed value does not open: it is damaged, was moved from another row, or its master key is not among those the server was given")
}

// NewSecret returns 32 random bytes in text form, for client secrets and join tokens.
func NewSecret() string { return rand.Text() + rand.Text() }
