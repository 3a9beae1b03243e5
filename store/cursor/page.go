// SPDX-License-Identifier: Apache-2.0

package cursor

import (
	"time"

	"github.com/google/uuid"
)

// Page is the part of a list to read. Lists are ordered by creation time and id, so pages stay correct while rows are added and deleted.
type Page struct {
	Limit  int
	Cursor string // empty for the first page
}

// Read reads one page, and returns the cursor of the next. query reads up to limit rows after a position. Read queries for one more row, which
// shows whether there is a next page. where is an item's position in the list. Codes: invalid (cursor).
func Read[Row, T any](p Page, query func(after Position, limit int) ([]Row, error), convert func(Row) T, where func(T) (time.Time, uuid.UUID)) (items []T, next string, _ error) {
	after, err := Parse(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	rows, err := query(after, p.Limit+1)
	if err != nil {
		return nil, "", err
	}
	more := len(rows) > p.Limit
	items = make([]T, 0, min(len(rows), p.Limit))
	for _, row := range rows[:min(len(rows), p.Limit)] {
		items = append(items, convert(row))
	}
	if !more || len(items) == 0 {
		return items, "", nil
	}
	at, id := where(items[len(items)-1])
	return items, Position{At: at, ID: id}.String(), nil
}
