// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
)

// EventFilter selects events. A nil field selects all.
type EventFilter struct {
	Kind     *string
	ObjectID *ID
	After    time.Time // zero for all stored events
}

// Matches reports whether the filter selects the event, whatever its time.
func (f EventFilter) Matches(e husk.Event) bool {
	return (f.Kind == nil || *f.Kind == e.Kind) && (f.ObjectID == nil || *f.ObjectID == e.ObjectID)
}

// Events lists what happened to a tenant's objects, oldest first. Codes: invalid (cursor).
func (t Tenant) Events(ctx context.Context, page Page, filter EventFilter) ([]husk.Event, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.Event, error) {
		if after.At.Before(filter.After) {
			after = cursor.Position{At: filter.After}
		}
		return q.Events(ctx, db.EventsParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Kind: filter.Kind, ObjectID: filter.ObjectID, Max: limit})
	}, convert.Event, func(e husk.Event) (time.Time, ID) { return e.At, e.ID })
}

// TendPartitions makes the partitions of the coming months, and drops those that nobody needs. It returns how many rows are outside of all
// partitions, by table.
func (c Control) TendPartitions(ctx context.Context) (made, dropped int, outside map[string]int64, _ error) {
	err := controlDo(ctx, c, func(q *db.Queries) (err error) {
		made, err = q.MakePartitions(ctx)
		return err
	})
	if err == nil {
		err = controlDo(ctx, c, func(q *db.Queries) (err error) {
			dropped, err = q.DropPartitions(ctx)
			return err
		})
	}
	if err != nil {
		return made, dropped, nil, err
	}
	outside = map[string]int64{}
	return made, dropped, outside, controlDo(ctx, c, func(q *db.Queries) error {
		rows, err := q.RowsOutsidePartitions(ctx)
		for _, r := range rows {
			outside[r.Tab] = r.N
		}
		return err
	})
}

// requested is like record, for changes that a request made: it also writes the audit entry.
func requested(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := audit(ctx, q, tenantID, kind, id.String()); err != nil {
		return err
	}
	return record(ctx, q, tenantID, kind, id, reason, message)
}

// record writes an event, and wakes the control loops and the tenant's watchers.
func record(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := q.InsertEvent(ctx, db.InsertEventParams{TenantID: tenantID, Kind: kind, ObjectID: id, Reason: reason, Message: message}); err != nil {
		return err
	}
	return hintWork(ctx, q, tenantID)
}
