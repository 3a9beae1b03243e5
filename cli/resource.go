// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
)

// listCommand makes the command that lists and gets objects of a kind.
func listCommand[T any](a *app, k kind.Kind[T]) *cobra.Command {
	cmd := &cobra.Command{
		Use:     k.Plural + " [NAME|ID…]",
		Aliases: k.Aliases,
		Short:   k.Short,
		Args:    cobra.ArbitraryArgs,
	}
	if k.NoID {
		cmd.Use = k.Plural + " [NAME…]"
	}
	output := a.outputFlags(cmd, "table")
	selector, watch := new(string), new(bool)
	if k.Labels {
		cmd.Flags().StringVarP(selector, "selector", "l", "", "list only objects with these labels, such as app=web,tier!=test")
	}
	if k.Watch != nil {
		cmd.Flags().BoolVarP(watch, "watch", "w", false, "keep running, and print every change")
	}
	sortBy := cmd.Flags().String("sort-by", "", "sort by the value at this path of JSON, such as .createdAt or .status.phase")
	cmd.ValidArgsFunction = a.offers().Names(k.Kind)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(args) > 0 && *selector != "" {
			return exit.Usagef("--selector selects by labels; give no names with it")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		q, named := kind.Query{Labels: *selector, SortBy: *sortBy}, kind.BareNames(k.Kind, args)
		if *watch {
			return follow(cmd.Context(), a, k, c, p, q, named)
		}
		return show(cmd.Context(), a, k, c, p, q, named)
	}
	return cmd
}

// show lists all objects, or only the named ones.
func show[T any](ctx context.Context, a *app, k kind.Kind[T], c *client.Client, p print.Printer, q kind.Query, named []string) error {
	if len(named) == 0 {
		items, err := client.Collect(k.List(ctx, c, q))
		if err != nil {
			return err
		}
		if len(items) == 0 && p.Tabular() {
			if q.Labels != "" {
				a.hint("no %s match these labels", k.Plural)
			} else {
				a.hint("no %s yet; %s", k.Plural, k.IfNone)
			}
			return nil
		}
		return present(ctx, a, k, c, p, q, items)
	}
	items := make([]T, 0, len(named))
	for _, name := range named {
		item, err := k.Find(ctx, c, name)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	if len(items) == 1 && !a.quiet {
		return k.ViewFor(ctx, c, p).One(p, items[0])
	}
	return present(ctx, a, k, c, p, q, items)
}

// present prints objects, or only their IDs with -q.
func present[T any](ctx context.Context, a *app, k kind.Kind[T], c *client.Client, p print.Printer, q kind.Query, items []T) error {
	if err := print.SortBy(items, q.SortBy); err != nil {
		return exit.Usagef("--sort-by: %w", err)
	}
	if !a.quiet || !p.Tabular() {
		return k.ViewFor(ctx, c, p).Show(p, items)
	}
	for _, item := range items {
		id := k.Name(item)
		if k.ID != nil {
			id = k.ID(item)
		}
		if _, err := fmt.Fprintln(p.Out, print.Clean(id)); err != nil {
			return err
		}
	}
	return nil
}

// follow prints objects and their changes until ctx ends.
func follow[T any](ctx context.Context, a *app, k kind.Kind[T], c *client.Client, p print.Printer, q kind.Query, named []string) error {
	changes := print.NewChanges(p, k.ViewFor(ctx, c, p), k.ID)
	o := client.WatchOptions{
		Select:       client.Select{Labels: q.Labels},
		Disconnected: func(error) { a.hint("lost the connection; retrying") },
		Reconnected:  func() { a.hint("connected again") },
	}
	for change, err := range k.Watch(ctx, c, q, o) {
		if err != nil {
			return err
		}
		if change.Type == client.Synced || !k.Match(change.Object, named) {
			continue
		}
		if err := changes.Print(change); err != nil {
			return err
		}
	}
	return nil
}

// getCommand makes husk get, for users of kubectl. Its subcommands are the same lists as husk pods, husk volumes and so on.
func getCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get", Short: "List objects of a kind, or show some by name or ID",
		Long: `List objects of a kind, or show some by name or ID. Each kind also has a command
of its own: husk get pods is the same as husk pods.`,
	}
	of := kind.Pods // "pod" is no alias of husk pods, because husk pod is another command
	of.Aliases = append([]string{"pod"}, of.Aliases...)
	cmd.AddCommand(
		listCommand(a, of), listCommand(a, kind.Volumes), listCommand(a, kind.Snapshots), listCommand(a, kind.Images), listCommand(a, kind.Configs), listCommand(a, kind.Secrets), listCommand(a, kind.Networks), listCommand(a, kind.Services), listCommand(a, kind.Addresses), listCommand(a, kind.Ingresses), listCommand(a, kind.SecurityGroups), eventsCommand(a), quotaCommand(a),
		listCommand(a, kind.ServiceAccounts), listKeysCommand(a), listCommand(a, kind.Users), listCommand(a, kind.Issuers), auditCommand(a),
		listCommand(a, kind.Nodes), listCommand(a, kind.Pools), listCommand(a, kind.VolumeClasses),
	)
	return group(cmd)
}
