// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Limits of what a guest may send, per session on the host. Logs are the only large amount that a
// guest sends. The rate is far above what one reader of logs can use, and far below what would harm
// a node with hundreds of pods.
const (
	inboundRate  = 16 << 20 // bytes per second
	inboundBurst = 4 << 20  // bytes
	// A yamux frame costs the host some work, however short it is.
	frameCost = 256 // bytes
)

// The header of a yamux frame: version, type, flags, stream, length.
const (
	yamuxHeader       = 12
	yamuxTypeData     = 0
	yamuxTypePing     = 2
	yamuxTypeLast     = 3
	yamuxFlagSYN      = 1
	maxYamuxFrame     = 256 << 10 // the receive window: a longer frame is always invalid
	yamuxKnownVersion = 0
)

var errGuestOpens = errors.New("guest opens streams or pings: not allowed")

// throttle limits the rate to inboundRate. It delays the reader, so the guest's own writes block.
type throttle struct {
	r      io.Reader
	tokens float64
	last   time.Time
}

func (t *throttle) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.charge(n)
	return n, err
}

func (t *throttle) charge(n int) {
	now := time.Now()
	if t.last.IsZero() {
		t.tokens = inboundBurst
	} else {
		t.tokens = min(inboundBurst, t.tokens+now.Sub(t.last).Seconds()*inboundRate)
	}
	t.last = now
	t.tokens -= float64(n)
	if t.tokens < 0 {
		time.Sleep(time.Duration(-t.tokens / inboundRate * float64(time.Second)))
	}
}

// guard reads yamux frames from a guest, and ends the session at the first frame that only a
// hostile guest sends. Without it, yamux would start a goroutine for every ping and keep every
// opened stream.
type guard struct {
	t    *throttle
	head [yamuxHeader]byte
	have int // bytes of the header so far
	body int // remaining bytes of the current frame's body
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.t.Read(p)
	if bad := g.inspect(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

func (g *guard) inspect(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(g.body, len(p))
			g.body -= n
			p = p[n:]
			continue
		}
		n := copy(g.head[g.have:], p)
		g.have += n
		p = p[n:]
		if g.have < yamuxHeader {
			return nil
		}
		g.have = 0
		g.t.charge(frameCost)
		if err := g.frame(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) frame() error {
	version, kind := g.head[0], g.head[1]
	flags := binary.BigEndian.Uint16(g.head[2:])
	length := binary.BigEndian.Uint32(g.head[8:])
	switch {
	case version != yamuxKnownVersion || kind > yamuxTypeLast:
		return fmt.Errorf("guest sent a frame of version %d, type %d", version, kind)
	case flags&yamuxFlagSYN != 0:
		return errGuestOpens
	case kind == yamuxTypeData && length > maxYamuxFrame:
		return fmt.Errorf("guest sent a frame of %d bytes: the limit is %d", length, maxYamuxFrame)
	case kind == yamuxTypeData:
		g.body = int(length)
	}
	return nil
}
