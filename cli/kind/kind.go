// SPDX-License-Identifier: Apache-2.0

// Package kind describes the kinds of objects to the commands: the columns that show them, and how to list, find, watch and delete them.
//
// Each kind has a file. [Kind] is what all of them have, [Object] is an object of any kind, and [Ref] names an object on the command line.
package kind

import (
	"context"
	"iter"
	"slices"

	"husk/cli/print"
	"husk/client"
)

// Kind describes a kind of object to the commands that list it, so that all kinds are listed in the same way.
type Kind[T any] struct {
	print.View[T]

	Plural  string
	Aliases []string
	Short   string // what the command lists
	ID      func(T) string
	List    func(ctx context.Context, c *client.Client, q Query) iter.Seq2[T, error]
	Find    func(ctx context.Context, c *client.Client, name string) (T, error)
	// Watch is nil for kinds that cannot be watched.
	Watch    func(ctx context.Context, c *client.Client, q Query, o client.WatchOptions) iter.Seq2[client.Change[T], error]
	Labels   bool   // can be selected by labels
	NoID     bool   // objects have only a name
	IfNone   string // a hint for an empty list
	NewViews func(ctx context.Context, c *client.Client) print.View[T]
}

// Query narrows a list.
type Query struct {
	Labels string
	SortBy string
	Events client.EventSelect
}

// ViewFor returns the view for an output. A table may need more requests than JSON.
func (k Kind[T]) ViewFor(ctx context.Context, c *client.Client, p print.Printer) print.View[T] {
	if k.NewViews != nil && p.Tabular() {
		return k.NewViews(ctx, c)
	}
	return k.View
}

// Match reports whether an object is one of those that were named. If no object was named, it is true for all.
func (k Kind[T]) Match(item T, named []string) bool {
	return len(named) == 0 || slices.Contains(named, k.ID(item)) || slices.Contains(named, k.Name(item))
}
