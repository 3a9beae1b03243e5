// SPDX-License-Identifier: Apache-2.0

package print

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"husk/cli/terminal"
)

// Progress shows what the command waits for. On a terminal it changes one line; elsewhere it prints a line for each change. If quiet, it
// prints nothing.
type Progress struct {
	out   io.Writer
	quiet bool
	live  bool
	frame int
	shown string
}

// NewProgress starts a progress line on a stream.
func NewProgress(out io.Writer, quiet bool) *Progress {
	return &Progress{out: out, quiet: quiet, live: terminal.Is(out) && os.Getenv("TERM") != "dumb"}
}

// Live reports whether the line changes in place.
func (p *Progress) Live() bool { return p.live }

// Say shows a new state.
func (p *Progress) Say(text string) {
	if p.quiet || text == p.shown {
		return
	}
	p.shown = text
	if p.live {
		p.draw()
		return
	}
	fmt.Fprintln(p.out, text)
}

// spin shows that the program is alive.
var spin = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

const frameTime = 100 * time.Millisecond

func (p *Progress) draw() {
	text := []rune(p.shown)
	if f, ok := p.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 3 && len(text) > width-3 { // a line that wraps cannot be erased
			text = append(text[:width-4:width-4], '…')
		}
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s %s", spin[p.frame%len(spin)], string(text))
}

// Wait pauses while the spinner turns.
func (p *Progress) Wait(ctx context.Context, d time.Duration) error {
	if !p.live || p.quiet || p.shown == "" {
		return terminal.Pause(ctx, d)
	}
	for d > 0 {
		if err := terminal.Pause(ctx, min(d, frameTime)); err != nil {
			return err
		}
		d -= frameTime
		p.frame++
		p.draw()
	}
	return nil
}

// Done erases the line.
func (p *Progress) Done() {
	if p.live && !p.quiet && p.shown != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.shown = ""
}
