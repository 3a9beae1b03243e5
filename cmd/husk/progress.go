package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress tells what is waited for: one line that changes on a terminal, a line for each change elsewhere, and nothing if quiet.
type progress struct {
	out   io.Writer
	quiet bool
	live  bool
	frame int
	shown string
}

func (a *app) progress() *progress {
	return &progress{out: a.errs, quiet: a.quiet, live: terminal(a.errs) && os.Getenv("TERM") != "dumb"}
}

// say tells a new state.
func (p *progress) say(text string) {
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

// spin is the sign that the program still lives.
var spin = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

const frameTime = 100 * time.Millisecond

func (p *progress) draw() {
	text := []rune(p.shown)
	if f, ok := p.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 3 && len(text) > width-3 { // a line that wraps cannot be taken back
			text = append(text[:width-4:width-4], '…')
		}
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s %s", spin[p.frame%len(spin)], string(text))
}

// wait pauses, and lets the sign turn meanwhile.
func (p *progress) wait(ctx context.Context, d time.Duration) error {
	if !p.live || p.quiet || p.shown == "" {
		return wait(ctx, d)
	}
	for d > 0 {
		if err := wait(ctx, min(d, frameTime)); err != nil {
			return err
		}
		d -= frameTime
		p.frame++
		p.draw()
	}
	return nil
}

// done leaves the terminal's line free.
func (p *progress) done() {
	if p.live && !p.quiet && p.shown != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.shown = ""
}
