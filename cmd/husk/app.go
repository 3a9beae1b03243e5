package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// app is one call of the command: what it reads and writes, and the flags that every command has.
type app struct {
	in        io.Reader
	out, errs io.Writer
	context   string // --context
	quiet     bool
	started   bool // the arguments were accepted
}

// hint tells on standard error what one might do next; scripts see nothing of it where they look.
func (a *app) hint(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.errs, format+"\n", args...)
	}
}

// terminal tells whether something is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// asks tells whether somebody is there to be asked.
func (a *app) asks() bool { return terminal(a.in) && terminal(a.errs) }

// colorful tells whether colors may be used on a stream: no-color.org, and terminals that can do no more than print.
func colorful(stream any) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && terminal(stream)
}
