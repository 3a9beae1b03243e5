// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"husk"
	"husk/store/cursor"
	"husk/store/db"
)

// Page is the part of a list to read. Lists are ordered by creation time and id, so pages stay correct while rows are added and deleted.
type Page struct {
	Limit  int
	Cursor string // empty for the first page
}

// list is one page with the cursor of the next.
type list[T any] struct {
	items []T
	next  string
}

// tenantPage reads one page of a tenant's list. where is an item's position in the list.
func tenantPage[Row, T any](ctx context.Context, t Tenant, p Page, query pageQuery[Row], convert func(Row) T, where func(T) (time.Time, ID)) ([]T, string, error) {
	l, err := inTenant(ctx, t, func(q *db.Queries) (list[T], error) { return readPage(q, p, query, convert, where) })
	return l.items, l.next, err
}

// controlPage reads one page of a list that is not limited to one tenant.
func controlPage[Row, T any](ctx context.Context, c Control, p Page, query pageQuery[Row], convert func(Row) T, where func(T) (time.Time, ID)) ([]T, string, error) {
	l, err := inControl(ctx, c, func(q *db.Queries) (list[T], error) { return readPage(q, p, query, convert, where) })
	return l.items, l.next, err
}

// pageQuery reads up to limit rows after a position.
type pageQuery[Row any] func(q *db.Queries, after cursor.Position, limit int) ([]Row, error)

// readPage reads one page: it queries for one more row, which shows whether there is a next page.
func readPage[Row, T any](q *db.Queries, p Page, query pageQuery[Row], convert func(Row) T, where func(T) (time.Time, ID)) (list[T], error) {
	after, err := cursor.Parse(p.Cursor)
	if err != nil {
		return list[T]{}, err
	}
	rows, err := query(q, after, p.Limit+1)
	if err != nil {
		return list[T]{}, err
	}
	more := len(rows) > p.Limit
	items := make([]T, 0, min(len(rows), p.Limit))
	for _, row := range rows[:min(len(rows), p.Limit)] {
		items = append(items, convert(row))
	}
	if !more || len(items) == 0 {
		return list[T]{items: items}, nil
	}
	at, id := where(items[len(items)-1])
	return list[T]{items, cursor.Position{At: at, ID: id}.String()}, nil
}

// Filter selects the objects of a list. The zero value selects all.
type Filter struct {
	Name   *string
	Labels husk.Selector
}

// Matches reports whether the filter selects an object with this name and these labels.
func (f Filter) Matches(name string, labels map[string]string) bool {
	return (f.Name == nil || *f.Name == name) && f.Labels.Matches(labels)
}
