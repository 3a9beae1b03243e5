package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

func eventOf(e db.Event) husk.Event {
	return husk.Event{ID: e.ID, Kind: e.Kind, ObjectID: e.ObjectID, Reason: e.Reason, Message: e.Message, At: e.At}
}

// EventFilter narrows a list of events; nil fields do not.
type EventFilter struct {
	Kind     *string
	ObjectID *ID
	After    time.Time // zero: all that are kept
}

// Events lists what happened to a tenant's objects, oldest first. Codes: invalid (cursor).
func (s *Store) Events(ctx context.Context, tenantID ID, page Page, filter EventFilter) ([]husk.Event, string, error) {
	l, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (l list[husk.Event], err error) {
		l.items, l.next, err = paged(page, func(after position, limit int) ([]db.Event, error) {
			if after.at.Before(filter.After) {
				after = position{at: filter.After}
			}
			return q.Events(ctx, db.EventsParams{TenantID: tenantID, AfterTime: after.at, AfterID: after.id, Kind: filter.Kind, ObjectID: filter.ObjectID, Max: limit})
		}, eventOf, func(e husk.Event) (time.Time, ID) { return e.At, e.ID })
		return l, err
	})
	return l.items, l.next, err
}

// ForgetEvents removes events older than 14 days and returns how many.
func (s *Store) ForgetEvents(ctx context.Context) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) { return q.ForgetEvents(ctx) })
}

func auditEntryOf(a db.Audit) husk.AuditEntry {
	return husk.AuditEntry{
		ID: a.ID, At: a.At, Operation: a.Operation, TenantID: a.TenantID, ObjectKind: a.ObjectKind, ObjectID: a.ObjectID,
		ActorKind: a.ActorKind, ActorID: a.ActorID, ActorName: a.ActorName, KeyID: a.KeyID, Address: a.Address, RequestID: a.RequestID, Detail: a.Detail,
	}
}

// TenantAudit lists who changed what in a tenant, newest first. Codes: invalid (cursor).
func (s *Store) TenantAudit(ctx context.Context, tenantID ID, page Page) ([]husk.AuditEntry, string, error) {
	l, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (list[husk.AuditEntry], error) { return auditEntries(ctx, q, page, &tenantID) })
	return l.items, l.next, err
}

// Audit lists who changed what anywhere, or in one tenant, newest first. Codes: invalid (cursor).
func (s *Store) Audit(ctx context.Context, page Page, tenantID *ID) ([]husk.AuditEntry, string, error) {
	l, err := inControl(ctx, s, func(q *db.Queries) (list[husk.AuditEntry], error) { return auditEntries(ctx, q, page, tenantID) })
	return l.items, l.next, err
}

func auditEntries(ctx context.Context, q *db.Queries, page Page, tenantID *ID) (l list[husk.AuditEntry], err error) {
	l.items, l.next, err = paged(page, func(before position, limit int) ([]db.Audit, error) {
		if before == (position{}) {
			before = position{at: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), id: uuid.Max}
		}
		return q.AuditEntries(ctx, db.AuditEntriesParams{BeforeTime: before.at, BeforeID: before.id, TenantID: tenantID, Max: limit})
	}, auditEntryOf, func(a husk.AuditEntry) (time.Time, ID) { return a.At, a.ID })
	return l, err
}
