// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
)

func waitCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait KIND NAME|ID… | KIND/NAME…",
		Short: "Wait until objects reach a given state",
		Long: `Wait until objects reach a given state. --for is one of

  pod      running (the default), stopped, succeeded, ended, deleted
  volume   available (the default), deleted
  image    ready (the default), deleted

husk reports an error if an object can no longer reach the state. If an object does
not reach the state in time, the exit code is 124.`,
		Example: `  husk wait pod/web
  husk wait pod/job --for ended --timeout 1h`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.offers().KindThenNames,
	}
	goal := cmd.Flags().String("for", "", "state to wait for")
	timeout := cmd.Flags().Duration("timeout", 10*time.Minute, "maximum time to wait for each object")
	complete.Words(cmd, "for", "running", "stopped", "succeeded", "ended", "available", "ready", "deleted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		refs, err := kind.ParseRefs(args)
		if err != nil {
			return err
		}
		for _, r := range refs {
			if _, err := kind.GoalStates(r.Kind, *goal); err != nil {
				return err
			}
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		for _, r := range refs {
			if err := a.await(cmd.Context(), c, r, *goal, *timeout); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (a *app) await(ctx context.Context, c *client.Client, r kind.Ref, goal string, timeout time.Duration) error {
	states, err := kind.GoalStates(r.Kind, goal)
	if err != nil {
		return err
	}
	o, err := r.Find(ctx, c)
	if client.IsNotFound(err) && states == nil {
		fmt.Fprintln(a.out, r, "deleted")
		return nil
	}
	if err != nil {
		return err
	}
	if states == nil {
		if err := a.untilGone(ctx, o, timeout); err != nil {
			return err
		}
		fmt.Fprintln(a.out, o.Ref, "deleted")
		return nil
	}
	reached := ""
	err = a.until(ctx, timeout, o.Ref, func() (bool, string, error) {
		s, message, err := o.Look(ctx)
		switch {
		case err != nil:
			return false, "", err
		case slices.Contains(states, s):
			reached = s
			return true, s, nil
		case kind.Final(r.Kind, s):
			return false, "", errors.New(o.Ref + " is " + print.State(s, message))
		default:
			return false, print.State(s, message), nil
		}
	})
	if err == nil {
		fmt.Fprintln(a.out, o.Ref, strings.ToLower(reached))
	}
	return err
}

// until calls the function ask until that is done, and shows each state that differs from the previous one.
func (a *app) until(ctx context.Context, timeout time.Duration, what string, ask func() (done bool, state string, err error)) error {
	deadline := time.Now().Add(timeout)
	pause := 50 * time.Millisecond
	p := a.progress()
	defer p.Done()
	first := true
	for {
		done, state, err := ask()
		if err != nil {
			return err
		}
		if !done || !first && !p.Live() { // print nothing if the goal was already reached at the start
			p.Say(print.Clean(what + ": " + state))
		}
		if done {
			return nil
		}
		first = false
		if time.Now().Add(pause).After(deadline) {
			return exit.TimeoutError{Detail: fmt.Sprintf("%s is still %s after %s", what, state, timeout)}
		}
		if err := p.Wait(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*3/2, time.Second)
	}
}
