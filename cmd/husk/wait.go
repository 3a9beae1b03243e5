package main

import (
	"context"
	"fmt"
	"time"
)

// until asks until it is done, and shows each state that differs from the one before.
func (a *app) until(ctx context.Context, timeout time.Duration, what string, ask func() (done bool, state string, err error)) error {
	deadline := time.Now().Add(timeout)
	pause := 50 * time.Millisecond
	p := a.progress()
	defer p.done()
	first := true
	for {
		done, state, err := ask()
		if err != nil {
			return err
		}
		if !done || !first && !p.live { // what was so from the start is not worth a line
			p.say(clean(what + ": " + state))
		}
		if done {
			return nil
		}
		first = false
		if time.Now().Add(pause).After(deadline) {
			return timeoutError{fmt.Sprintf("%s is still %s after %s", what, state, timeout)}
		}
		if err := p.wait(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*3/2, time.Second)
	}
}

// state joins a state with the message that explains it.
func state(s string, message *string) string {
	if m := value(message); m != "" {
		return s + ": " + m
	}
	return s
}
