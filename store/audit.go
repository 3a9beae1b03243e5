// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
)

// audit records who made a change, in the transaction of the change. tenantID is zero for changes to the platform. Changes that a
// loop makes without a request are events, not audit entries.
func audit(ctx context.Context, q *db.Queries, tenantID ID, kind, id string) error {
	return auditDetail(ctx, q, tenantID, kind, id, "")
}

// maxDetail is the largest detail of an audit entry, in bytes.
const maxDetail = 4096

// auditDetail is audit with a detail, such as a command line.
func auditDetail(ctx context.Context, q *db.Queries, tenantID ID, kind, id, detail string) error {
	r, ok := requestOf(ctx)
	if !ok {
		return nil
	}
	p := db.InsertAuditEntryParams{
		ID: uuid.New(), Operation: convert.OperationName(r.Operation), ObjectKind: kind, ObjectID: id, RequestID: r.ID,
		ActorKind: r.Caller.ActorKind(), ActorID: r.Caller.ID, ActorName: r.Caller.Name, Detail: convert.Storable(detail, maxDetail),
	}
	if tenantID != uuid.Nil {
		p.TenantID = &tenantID
	}
	if r.Caller.KeyID != uuid.Nil {
		p.KeyID = &r.Caller.KeyID
	}
	if r.Address.IsValid() {
		p.Address = &r.Address
	}
	return wrap(q.InsertAuditEntry(ctx, p), "write the audit log")
}

func auditPlatform(ctx context.Context, q *db.Queries, kind, id string) error {
	return audit(ctx, q, platform, kind, id)
}

// Audit lists who changed what in a tenant, newest first. With a filter, a page may have less entries than its limit, or none, although there is a
// next one. Codes: invalid (cursor).
func (t Tenant) Audit(ctx context.Context, page Page, filter AuditFilter) ([]husk.AuditEntry, string, error) {
	l, err := inTenant(ctx, t, func(q *db.Queries) (list[husk.AuditEntry], error) { return auditPage(ctx, q, &t.id, page, filter) })
	return l.items, l.next, err
}

// Audit lists who changed what anywhere, or in one tenant, as Tenant.Audit does. Codes: invalid (cursor).
func (c Control) Audit(ctx context.Context, page Page, tenantID *ID, filter AuditFilter) ([]husk.AuditEntry, string, error) {
	l, err := inControl(ctx, c, func(q *db.Queries) (list[husk.AuditEntry], error) { return auditPage(ctx, q, tenantID, page, filter) })
	return l.items, l.next, err
}

// AuditFilter says which entries of the audit log are wanted. What is empty filters nothing.
type AuditFilter struct {
	From, To         *time.Time // To is exclusive
	Operation, Actor string     // Actor is a name or an id
}

// auditWindow is the number of entries in which one page looks for those of an operation or an actor. On two cores, reading them takes 0.1 s.
const auditWindow = 100_000

// auditPage reads one page of the audit log. The next page begins where this one's window ends, if it has less entries than it may have.
func auditPage(ctx context.Context, q *db.Queries, tenantID *ID, p Page, f AuditFilter) (list[husk.AuditEntry], error) {
	var end cursor.Position // the last entry of the window, which is older than all of this page
	l, err := readPage(q, p, func(q *db.Queries, before cursor.Position, limit int) ([]db.Audit, error) {
		if before == (cursor.Position{}) {
			before = cursor.Position{At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ID: uuid.Max}
		}
		if f.Operation != "" || f.Actor != "" {
			last, err := q.AuditWindow(ctx, db.AuditWindowParams{BeforeTime: before.At, BeforeID: before.ID, TenantID: tenantID, FromTime: f.From, ToTime: f.To, Skipped: auditWindow - 1})
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return nil, err
			}
			end = cursor.Position{At: last.At, ID: last.ID}
		}
		return q.AuditEntries(ctx, db.AuditEntriesParams{
			BeforeTime: before.At, BeforeID: before.ID, DownToTime: end.At, DownToID: end.ID, TenantID: tenantID, FromTime: f.From, ToTime: f.To,
			Operation: f.Operation, Actor: f.Actor, Max: limit,
		})
	}, convert.AuditEntry, func(a husk.AuditEntry) (time.Time, ID) { return a.At, a.ID })
	if l.next == "" && end != (cursor.Position{}) {
		l.next = end.String()
	}
	return l, err
}
