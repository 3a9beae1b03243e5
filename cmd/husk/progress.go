package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
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
	fmt.Fprintf(p.out, "\r\x1b[K%s %s", spin[p.frame%len(spin)], p.shown)
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
