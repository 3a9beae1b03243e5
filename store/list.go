// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"husk"
	"husk/store/cursor"
	"husk/store/db"
)

// Page is the part of a list to read.
type Page = cursor.Page

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

func readPage[Row, T any](q *db.Queries, p Page, query pageQuery[Row], convert func(Row) T, where func(T) (time.Time, ID)) (l list[T], err error) {
	l.items, l.next, err = cursor.Read(p, func(after cursor.Position, limit int) ([]Row, error) { return query(q, after, limit) }, convert, where)
	return l, err
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
