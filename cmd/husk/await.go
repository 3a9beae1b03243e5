package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// goals are what may be waited for, by kind; the first is what is meant when nothing is said. Each names the states that fulfil it.
var goals = map[string][]struct {
	name   string
	states []string
}{
	"pod": {
		{"running", []string{string(openapi.PodPhaseRunning)}},
		{"succeeded", []string{string(openapi.PodPhaseSucceeded)}},
		{"ended", []string{string(openapi.PodPhaseSucceeded), string(openapi.PodPhaseFailed)}},
		{"deleted", nil},
	},
	"volume": {{"available", []string{string(openapi.VolumeStateAvailable), string(openapi.VolumeStateInUse)}}, {"deleted", nil}},
	"image":  {{"ready", []string{string(openapi.ImageStateReady)}}, {"deleted", nil}},
}

// deadEnds are the states that lead no further by themselves.
var deadEnds = map[string][]string{
	"pod":    {string(openapi.PodPhaseSucceeded), string(openapi.PodPhaseFailed), string(openapi.PodPhaseStopping)},
	"volume": {string(openapi.VolumeStateDeleting)},
	"image":  {string(openapi.ImageStateFailed), string(openapi.ImageStateDeleting)},
}

func waitCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait KIND NAME|ID… | KIND/NAME…",
		Short: "Wait until pods run or have ended, volumes are available, images are ready, or any are deleted",
		Long: `Wait until objects are as they are to be. --for is one of

  pod      running (the default), succeeded, ended, deleted
  volume   available (the default), deleted
  image    ready (the default), deleted

What cannot come to that any more is a failure; what has not in time exits with
124.`,
		Example: `  husk wait pod/web
  husk wait pod/job --for ended --timeout 1h`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeKindThenNames,
	}
	goal := cmd.Flags().String("for", "", "what to wait for")
	timeout := cmd.Flags().Duration("timeout", 10*time.Minute, "how long to wait for each")
	a.completeWords(cmd, "for", "running", "succeeded", "ended", "available", "ready", "deleted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		refs, err := parseRefs(args)
		if err != nil {
			return err
		}
		for _, r := range refs {
			if _, err := goalStates(r.kind, *goal); err != nil {
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

// goalStates finds the states that fulfil a goal; none for deleted.
func goalStates(kind, goal string) ([]string, error) {
	known := goals[kind]
	if len(known) == 0 {
		return nil, usagef("a %s is there at once; there is nothing to wait for", kind)
	}
	var words []string
	for i, g := range known {
		if g.name == strings.ToLower(goal) || goal == "" && i == 0 {
			return g.states, nil
		}
		words = append(words, g.name)
	}
	return nil, usagef("--for: a %s cannot become %q, but %s", kind, goal, strings.Join(words, ", "))
}

func (a *app) await(ctx context.Context, c *openapi.Client, r ref, goal string, timeout time.Duration) error {
	states, err := goalStates(r.kind, goal)
	if err != nil {
		return err
	}
	o, err := finders[r.kind](ctx, c, r.name)
	if isNotFound(err) && states == nil {
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
		fmt.Fprintln(a.out, o.ref, "deleted")
		return nil
	}
	reached := ""
	err = a.until(ctx, timeout, o.ref, func() (bool, string, error) {
		s, message, err := o.look(ctx)
		switch {
		case err != nil:
			return false, "", err
		case slices.Contains(states, s):
			reached = s
			return true, s, nil
		case slices.Contains(deadEnds[r.kind], s):
			return false, "", errors.New(o.ref + " is " + state(s, message))
		default:
			return false, state(s, message), nil
		}
	})
	if err == nil {
		fmt.Fprintln(a.out, o.ref, strings.ToLower(reached))
	}
	return err
}
