package store

import (
	"context"
	"net/netip"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// Request is what the store must know of the request under way: who acts, so that one who was revoked is refused inside the
// transaction and every change is written down with its author; and which state of the object the caller means to change.
type Request struct {
	ID        string
	Operation string // as in the contract
	Caller    husk.Caller
	Address   netip.Addr // where it came from
	IfMatch   string     // the header of that name (RFC 9110, 13.1.1)
}

type requestKey struct{}

// WithRequest makes r the request of everything that is done with the context that it returns.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

func requestOf(ctx context.Context) (Request, bool) {
	r, ok := ctx.Value(requestKey{}).(Request)
	return r, ok
}

// asCaller is the request of whom it has just turned out to be from.
func asCaller(ctx context.Context, caller husk.Caller) context.Context {
	r, ok := requestOf(ctx)
	if !ok {
		return ctx
	}
	r.Caller = caller
	return WithRequest(ctx, r)
}

// ifMatch refuses a change of an object that is no longer as the caller knows it. Codes: precondition_failed.
func ifMatch(ctx context.Context, object any) error {
	r, _ := requestOf(ctx)
	if r.IfMatch == "" {
		return nil
	}
	tag := husk.ETag(object)
	for want := range strings.SplitSeq(r.IfMatch, ",") {
		if want = strings.TrimSpace(want); want == "*" || want == tag {
			return nil
		}
	}
	return husk.Errorf(husk.CodePreconditionFailed, "If-Match", "the object has changed; its ETag is now %s", tag)
}

// audit writes down in the same transaction who made a change. tenantID is zero for what concerns the platform. What no request
// asked for, but a loop did, is told by events.
func audit(ctx context.Context, q *db.Queries, tenantID ID, kind, id string) error {
	return auditDetail(ctx, q, tenantID, kind, id, "")
}

// maxDetail bounds what an audit entry says beside its operation and object, in bytes.
const maxDetail = 4096

// auditDetail is audit with what exactly was done.
func auditDetail(ctx context.Context, q *db.Queries, tenantID ID, kind, id, detail string) error {
	r, ok := requestOf(ctx)
	if !ok {
		return nil
	}
	p := db.InsertAuditEntryParams{
		ID: uuid.New(), Operation: lowerFirst(r.Operation), ObjectKind: kind, ObjectID: id, RequestID: r.ID,
		ActorKind: r.Caller.ActorKind(), ActorID: r.Caller.ID, ActorName: r.Caller.Name, Detail: storable(detail, maxDetail),
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

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// storable is a text as Postgres can keep it, cut to so many bytes.
func storable(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return s
}
