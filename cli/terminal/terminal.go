// SPDX-License-Identifier: Apache-2.0

// Package terminal is what the command line does with a terminal: it asks questions, gives a session the keyboard and the size, and finds
// the keys that detach from it.
package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"husk/session"
)

// Is reports whether a stream is a terminal.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colorful reports whether to use colors on a stream; see no-color.org. A terminal with TERM=dumb has no colors.
func Colorful(stream any) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && Is(stream)
}

// Size returns the size of the terminal that a stream goes to, or zero if the stream goes elsewhere.
func Size(out io.Writer) session.Size {
	f, ok := out.(*os.File)
	if !ok {
		return session.Size{}
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 || cols > 1<<15 || rows > 1<<15 {
		return session.Size{}
	}
	return session.Size{Cols: uint16(cols), Rows: uint16(rows)}
}

// resizeCheck is how often Handover reads the size. Not every system has a signal for a change of the size.
const resizeCheck = 200 * time.Millisecond

// Handover gives the terminal to a session. If the session takes input, Handover sets raw mode, so that every key goes to the session. It calls
// resize with the terminal's size at the start and whenever the size changes. The returned function takes the terminal back. Handover does
// nothing if in is not a terminal.
func Handover(in io.Reader, out io.Writer, takesInput bool, resize func(session.Size) error) (back func(), _ error) {
	f, ok := in.(*os.File)
	if !ok || !Is(f) {
		return func() {}, nil
	}
	restore := func() {}
	if takesInput { // otherwise Ctrl-C is for this program
		before, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return nil, fmt.Errorf("switch the terminal to raw mode: %w", err)
		}
		restore = func() {
			_ = term.Restore(int(f.Fd()), before) //nolint:errcheck // there is nothing else to do about it
		}
	}
	stop := make(chan struct{})
	var sizes sync.WaitGroup
	sizes.Go(func() {
		var last session.Size
		for tick := time.NewTicker(resizeCheck); ; {
			if now := Size(out); now != (session.Size{}) && now != last {
				if resize(now) != nil {
					return
				}
				last = now
			}
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(stop)
		restore()
		sizes.Wait()
	}, nil
}

// Pause waits, unless ctx ends first.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
