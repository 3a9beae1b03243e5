//go:build linux

package pid1

import (
	"cmp"
	"time"

	"husk/guest"
)

// backoff counts the delay before a container's next restart.
type backoff struct {
	base, max, reset time.Duration
	next             time.Duration
}

func newBackoff(b guest.Backoff) *backoff {
	ms := func(n int64, or time.Duration) time.Duration { return cmp.Or(time.Duration(n)*time.Millisecond, or) }
	return &backoff{
		base:  ms(b.BaseMillis, guest.DefaultBackoffBase),
		max:   ms(b.MaxMillis, guest.DefaultBackoffMax),
		reset: ms(b.ResetAfterMillis, guest.DefaultBackoffReset),
	}
}

// delay is how long to wait after a run that lasted ran.
func (b *backoff) delay(ran time.Duration) time.Duration {
	if b.next == 0 || ran >= b.reset {
		b.next = b.base
	}
	d := min(b.next, b.max)
	b.next = min(2*b.next, b.max)
	return d
}
