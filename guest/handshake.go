// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"math/rand/v2"
)

// The handshake finds a common beginning in two byte streams that may still contain parts of dead
// sessions.
//
//	host  → guest  hostMagic  version nonce      again every second until answered
//	guest → host   guestMagic version nonce      the same nonce
//
// The guest looks for hostMagic in everything it receives, also within a session: there it means
// that a new host has connected, and the guest drops the session. The host discards everything
// until it sees its own nonce.
//
// The magics cannot occur inside a session by accident: they contain bytes that are never part of
// JSON. They contain no quote, so they cannot complete a truncated JSON text either; the nonce is
// hexadecimal for the same reason. Their first byte occurs in them only once, which keeps the
// search simple.
const (
	hostMagic  = "\xffhusk-host\x00"
	guestMagic = "\xfehusk-guest\x00"
	nonceLen   = 32
)

// newNonce need not be secret, only unique. (crypto/rand would be a tenth of husk-init, although
// only the host makes nonces.)
func newNonce() string {
	return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
}

func preamble(magic, nonce string) []byte {
	return append(append([]byte(magic), ProtocolVersion), nonce...)
}

// preambleSeen is a preamble that was found.
type preambleSeen struct {
	version byte
	nonce   string
}

// matcher looks for preambles in a stream, byte by byte.
type matcher struct {
	magic string
	have  int // bytes of the preamble matched so far
	got   [1 + nonceLen]byte
}

// feed takes bytes up to the end of the first preamble in them. It returns how many it took, and
// the preamble if there is one.
func (m *matcher) feed(p []byte) (int, *preambleSeen) {
	for i, c := range p {
		if m.have < len(m.magic) {
			switch c {
			case m.magic[m.have]:
				m.have++
			case m.magic[0]:
				m.have = 1
			default:
				m.have = 0
			}
			continue
		}
		at := m.have - len(m.magic)
		if at > 0 && !isHex(c) {
			m.have = 0
			if c == m.magic[0] {
				m.have = 1
			}
			continue
		}
		m.got[at] = c
		m.have++
		if at == len(m.got)-1 {
			m.have = 0
			return i + 1, &preambleSeen{version: m.got[0], nonce: string(m.got[1:])}
		}
	}
	return len(p), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
}
