// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/google/uuid"

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

// Audit lists who changed what in a tenant, newest first. Codes: invalid (cursor).
func (t Tenant) Audit(ctx context.Context, page Page, filter AuditFilter) ([]husk.AuditEntry, string, error) {
	return tenantPage(ctx, t, page, auditEntries(ctx, &t.id, filter), convert.AuditEntry, whereAuditEntry)
}

// Audit lists who changed what anywhere, or in one tenant, newest first. Codes: invalid (cursor).
func (c Control) Audit(ctx context.Context, page Page, tenantID *ID, filter AuditFilter) ([]husk.AuditEntry, string, error) {
	return controlPage(ctx, c, page, auditEntries(ctx, tenantID, filter), convert.AuditEntry, whereAuditEntry)
}

func whereAuditEntry(a husk.AuditEntry) (time.Time, ID) { return a.At, a.ID }

// AuditFilter says which entries of the audit log are wanted. What is empty filters nothing.
type AuditFilter struct {
	From, To         *time.Time // To is exclusive
	Operation, Actor string     // Actor is a name or an id
}

func auditEntries(ctx context.Context, tenantID *ID, f AuditFilter) pageQuery[db.Audit] {
	return func(q *db.Queries, before cursor.Position, limit int) ([]db.Audit, error) {
		if before == (cursor.Position{}) {
			before = cursor.Position{At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ID: uuid.Max}
		}
		return q.AuditEntries(ctx, db.AuditEntriesParams{BeforeTime: before.At, BeforeID: before.ID, TenantID: tenantID, FromTime: f.From, ToTime: f.To, Operation: f.Operation, Actor: f.Actor, Max: limit})
	}
}
