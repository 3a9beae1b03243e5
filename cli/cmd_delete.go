// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/groups"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// deletion says how to delete.
type deletion struct {
	wait, ignoreMissing bool
	timeout             time.Duration
}

func deleteFlags(cmd *cobra.Command) *deletion {
	var d deletion
	cmd.Flags().BoolVar(&d.wait, "wait", false, "wait until the objects are deleted")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 10*time.Minute, "maximum time to wait for each object")
	cmd.Flags().BoolVar(&d.ignoreMissing, "ignore-not-found", false, "succeed if an object does not exist")
	return &d
}

func deleteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete KIND NAME|ID… | KIND/NAME… | -f FILE",
		Aliases: []string{"rm"},
		Short:   "Delete objects of any kind; a volume is deleted with its data",
		Example: `  husk delete pod web db --wait
  husk delete pod/web volume/data
  husk delete pods -l app=web
  husk delete -f web.yaml`,
		ValidArgsFunction: a.offers().KindThenNames,
	}
	d := deleteFlags(cmd)
	files := cmd.Flags().StringArrayP("filename", "f", nil, "delete the objects in these documents: a file, a directory, or - for standard input; may be repeated")
	selector := cmd.Flags().StringP("selector", "l", "", "delete the objects with these labels")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var refs []kind.Ref
		var err error
		switch {
		case len(*files) > 0 && (len(args) > 0 || *selector != ""), *selector != "" && len(args) != 1:
			return exit.Usagef("give either names, or -f, or one KIND with -l")
		case len(*files) > 0:
			refs, err = a.refsOf(*files)
		case *selector != "":
		case len(args) == 0:
			return exit.Usagef("give KIND NAME…, KIND/NAME…, -f FILE, or KIND with -l")
		default:
			refs, err = kind.ParseRefs(args)
		}
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if *selector != "" {
			if refs, err = selected(cmd.Context(), c, args[0], *selector); err != nil {
				return err
			}
			if len(refs) == 0 {
				a.hint("no objects match these labels")
			}
		}
		return a.deleteAll(cmd.Context(), c, refs, *d)
	}
	return cmd
}

// deleteKind makes the delete command of one kind.
func deleteKind(a *app, of string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "delete NAME|ID…",
		Aliases:           []string{"rm"},
		Short:             "Delete by name or ID",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.offers().Names(of),
	}
	d := deleteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		var refs []kind.Ref
		for _, name := range kind.BareNames(of, args) {
			refs = append(refs, kind.Ref{Kind: of, Name: name})
		}
		return a.deleteAll(cmd.Context(), c, refs, *d)
	}
	return cmd
}

// selected finds the objects with these labels.
func selected(ctx context.Context, c *client.Client, word, selector string) ([]kind.Ref, error) {
	of, _ := kind.Of(word)
	var refs []kind.Ref
	which := client.Select{Labels: selector}
	switch of {
	case "pod":
		for p, err := range c.Pods.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: p.ID.String()})
		}
	case "volume":
		for v, err := range c.Volumes.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: v.ID.String()})
		}
	case "snapshot":
		for s, err := range c.Snapshots.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: s.ID.String()})
		}
	case "config", "secret":
		k := map[string]openapi.ConfigKind{"config": openapi.ConfigKindConfig, "secret": openapi.ConfigKindSecret}[of]
		for o, err := range c.Configs.List(ctx, k, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: o.ID.String()})
		}
	case "network":
		for n, err := range c.Networks.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: n.ID.String()})
		}
	case "service":
		for s, err := range c.Services.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: s.ID.String()})
		}
	case "address":
		for a, err := range c.Addresses.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: a.ID.String()})
		}
	case "ingress":
		for i, err := range c.Ingresses.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: i.ID.String()})
		}
	case "security-group":
		for g, err := range c.SecurityGroups.List(ctx, which) {
			if err != nil {
				return nil, err
			}
			refs = append(refs, kind.Ref{Kind: of, Name: g.ID.String()})
		}
	default:
		return nil, exit.Usagef("--selector: only pods, volumes, snapshots, configs, secrets, networks, services, addresses, ingresses and security groups have labels, not %q", word)
	}
	return refs, nil
}

// deleteAll deletes one object after the other. If an object cannot be deleted, it continues with the next. It deletes pods first, and waits for them
// before it deletes the volumes and images that they may use; in the same way, it deletes volumes before snapshots. At the end, with --wait, it waits for the rest.
func (a *app) deleteAll(ctx context.Context, c *client.Client, refs []kind.Ref, d deletion) error {
	refs = slices.Clone(refs)
	slices.SortStableFunc(refs, func(x, y kind.Ref) int { return deleteOrder(x) - deleteOrder(y) })
	var failures []error
	var deleting []kind.Object
	groupRefs, groupIDs := map[uuid.UUID]string{}, []uuid.UUID{}
	waitForThem := func() {
		for _, o := range deleting {
			if err := a.untilGone(ctx, o, d.timeout); err != nil {
				failures = append(failures, err)
				continue
			}
			fmt.Fprintln(a.out, o.Ref, "deleted")
		}
		deleting = nil
	}
	last := 0
	if len(refs) > 0 {
		last = deleteOrder(refs[len(refs)-1])
	}
	for i, r := range refs {
		if i > 0 && deleteOrder(r) != deleteOrder(refs[i-1]) {
			waitForThem()
		}
		o, err := r.Find(ctx, c)
		if err == nil && r.Kind != "security-group" {
			err = o.Delete(ctx)
		}
		switch {
		case err == nil && r.Kind == "security-group": // together
			groupRefs[o.ID], groupIDs = o.Ref, append(groupIDs, o.ID)
		case client.IsNotFound(err) && d.ignoreMissing:
		case err != nil:
			failures = append(failures, err)
		case o.Look == nil:
			fmt.Fprintln(a.out, o.Ref, "deleted")
		case d.wait || deleteOrder(r) < last: // it may use the objects that come later
			deleting = append(deleting, o)
		default:
			fmt.Fprintln(a.out, o.Ref, "is being deleted")
		}
	}
	waitForThem()
	groups.Delete(ctx, c, groupIDs, func(id uuid.UUID) { fmt.Fprintln(a.out, groupRefs[id], "deleted") }, func(_ uuid.UUID, err error) { failures = append(failures, err) })
	return errors.Join(failures...)
}

// deleteOrder puts objects before those that they use.
func deleteOrder(r kind.Ref) int {
	switch r.Kind {
	case "pod":
		return 0
	case "snapshot": // volumes share its data
		return 2
	}
	return 1
}

// untilGone waits until an object no longer exists.
func (a *app) untilGone(ctx context.Context, o kind.Object, timeout time.Duration) error {
	return a.until(ctx, timeout, o.Ref, func() (bool, string, error) {
		s, message, err := o.Look(ctx)
		if client.IsNotFound(err) {
			return true, "gone", nil
		}
		return false, print.State(s, message), err
	})
}
