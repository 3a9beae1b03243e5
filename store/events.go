package store

import (
	"context"
	"time"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// EventFilter narrows a list of events; nil fields do not.
type EventFilter struct {
	Kind     *string
	ObjectID *ID
	After    time.Time // zero: all that are kept
}

// Events lists what happened to a tenant's objects, oldest first. Codes: invalid (cursor).
func (t Tenant) Events(ctx context.Context, page Page, filter EventFilter) ([]husk.Event, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after position, limit int) ([]db.Event, error) {
		if after.at.Before(filter.After) {
			after = position{at: filter.After}
		}
		return q.Events(ctx, db.EventsParams{TenantID: t.id, AfterTime: after.at, AfterID: after.id, Kind: filter.Kind, ObjectID: filter.ObjectID, Max: limit})
	}, convert.Event, func(e husk.Event) (time.Time, ID) { return e.At, e.ID })
}

// ForgetEvents removes events older than 14 days and returns how many.
func (c Control) ForgetEvents(ctx context.Context) (int64, error) {
	return inControl(ctx, c.core, func(q *db.Queries) (int64, error) { return q.ForgetEvents(ctx) })
}

// ordered is record for what a request asked for: the author is written down too.
func ordered(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := audit(ctx, q, tenantID, kind, id.String()); err != nil {
		return err
	}
	return record(ctx, q, tenantID, kind, id, reason, message)
}

// record writes an event and wakes whoever may care.
func record(ctx context.Context, q *db.Queries, tenantID ID, kind string, id ID, reason, message string) error {
	if err := q.InsertEvent(ctx, db.InsertEventParams{TenantID: tenantID, Kind: kind, ObjectID: id, Reason: reason, Message: message}); err != nil {
		return err
	}
	return notifyWork(ctx, q, tenantID)
}
