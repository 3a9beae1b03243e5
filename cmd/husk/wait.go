package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// until asks until it is done, and prints each state that differs from the one before.
func until(ctx context.Context, timeout time.Duration, what string, progress io.Writer, ask func() (done bool, state string, err error)) error {
	deadline := time.Now().Add(timeout)
	pause := 50 * time.Millisecond
	last := ""
	for {
		done, state, err := ask()
		if err != nil {
			return err
		}
		if state != last && (!done || last != "") {
			fmt.Fprintf(progress, "%s: %s\n", clean(what), clean(state))
			last = state
		}
		if done {
			return nil
		}
		if time.Now().Add(pause).After(deadline) {
			return fmt.Errorf("%s is still %s after %s", what, state, timeout)
		}
		if err := wait(ctx, pause); err != nil {
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
