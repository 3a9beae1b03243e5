package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// resource is what lists need to know of a kind of object. Its commands are made from it, so that all kinds are asked for alike.
type resource[T any] struct {
	view[T]
	plural  string
	aliases []string
	short   string // what the command lists
	id      func(T) string
	list    func(ctx context.Context, c *openapi.Client, q query) ([]T, error)
	find    func(ctx context.Context, c *openapi.Client, name string) (T, error)
	// watch opens the stream of changes; nil for kinds that cannot be watched.
	watch    func(ctx context.Context, c *openapi.Client, q query) (*http.Response, error)
	history  bool   // what is no longer listed is not deleted but old
	labels   bool   // can be selected by labels
	ifNone   string // what to do when there are none
	newViews func(ctx context.Context, c *openapi.Client) view[T]
}

// query narrows a list.
type query struct {
	selector *string
	object   *openapi.ListEventsParams // of events only
}

func (r resource[T]) viewFor(ctx context.Context, c *openapi.Client, p printer) view[T] {
	if r.newViews != nil && p.tabular() {
		return r.newViews(ctx, c)
	}
	return r.view
}

// listCommand makes the command that lists and gets objects of a kind.
func listCommand[T any](a *app, r resource[T]) *cobra.Command {
	cmd := &cobra.Command{
		Use:     r.plural + " [NAME|ID…]",
		Aliases: r.aliases,
		Short:   r.short,
		Args:    cobra.ArbitraryArgs,
	}
	output := a.outputFlags(cmd, "table")
	selector, watch := new(string), new(bool)
	if r.labels {
		cmd.Flags().StringVarP(selector, "selector", "l", "", "only objects with these labels, such as app=web,tier!=test")
	}
	if r.watch != nil {
		cmd.Flags().BoolVarP(watch, "watch", "w", false, "go on with every change")
	}
	cmd.ValidArgsFunction = a.completeNames(r.kind)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(args) > 0 && *selector != "" {
			return usagef("--selector chooses by labels; leave the names out")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		q := query{selector: given(*selector)}
		if *watch {
			return watchChanges(cmd.Context(), a, c, r, p, q, names(r.kind, args))
		}
		return r.print(cmd.Context(), a, c, p, q, names(r.kind, args))
	}
	return cmd
}

// print lists objects, or those that were named.
func (r resource[T]) print(ctx context.Context, a *app, c *openapi.Client, p printer, q query, wanted []string) error {
	if len(wanted) == 0 {
		items, err := r.list(ctx, c, q)
		if err != nil {
			return err
		}
		if len(items) == 0 && p.tabular() {
			if q.selector != nil {
				a.hint("no %s have these labels", r.plural)
			} else {
				a.hint("no %s yet; %s", r.plural, r.ifNone)
			}
			return nil
		}
		return r.viewFor(ctx, c, p).show(p, items)
	}
	items := make([]T, 0, len(wanted))
	for _, name := range wanted {
		item, err := r.find(ctx, c, name)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	v := r.viewFor(ctx, c, p)
	if len(items) == 1 {
		return v.one(p, items[0])
	}
	return v.show(p, items)
}

// names takes the kind off names that were given as pod/web.
func names(kind string, args []string) []string {
	out := make([]string, 0, len(args))
	for _, arg := range args {
		out = append(out, bare(kind, arg))
	}
	return out
}

// match tells whether an object is among those that were named; with no names every one is.
func (r resource[T]) match(item T, wanted []string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, r.id(item)) || slices.Contains(wanted, r.name(item))
}

// getCommand is kubectl's way to the same lists.
func getCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "get", Short: "List objects of a kind, or show some by name or id", Long: `List objects of a kind, or show some by name or id, as the commands that are
called like the kinds do: husk get pods is husk pods.`}
	of := pods // husk pod is a command of its own, husk get pod is not
	of.aliases = append([]string{"pod"}, of.aliases...)
	cmd.AddCommand(
		listCommand(a, of), listCommand(a, volumes), listCommand(a, images), eventsList(a), quotaList(a),
		listCommand(a, serviceAccounts), keysList(a), listCommand(a, users), listCommand(a, issuers), auditList(a),
		listCommand(a, nodes), listCommand(a, pools),
	)
	return group(cmd)
}

// group is a command that does nothing itself: without one of its own commands, or with a wrong one, the line is wrong.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("there is no command %q", cmd.CommandPath()+" "+args[0])
		}
		return usagef("%s needs a command: %s", cmd.CommandPath(), cmd.Commands()[0].Use)
	}
	return cmd
}
