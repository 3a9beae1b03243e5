// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"net/netip"
	"strings"

	"husk"
	"husk/store/db"
	"husk/store/repeats"
)

// Request is what the store needs to know about the API request under way: who makes it, for the audit log, and which version of the object
// the caller wants to change.
type Request struct {
	ID        string
	Operation string // as in the contract
	Caller    husk.Caller
	Address   netip.Addr // of the client
	IfMatch   string     // the If-Match header (RFC 9110, 13.1.1)
	Changes   bool       // it may change something
}

type requestKey struct{}

// WithRequest returns a context for everything that the store does on behalf of the request.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

func requestOf(ctx context.Context) (Request, bool) {
	r, ok := ctx.Value(requestKey{}).(Request)
	return r, ok
}

// asCaller sets the caller of the request, once the caller is authenticated.
func asCaller(ctx context.Context, caller husk.Caller) context.Context {
	r, ok := requestOf(ctx)
	if !ok {
		return ctx
	}
	r.Caller = caller
	return WithRequest(ctx, r)
}

// ifMatch refuses to change an object that is not in the version that the caller expects. Codes: precondition_failed.
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

// Idempotency identifies one request, so that the store recognises a repetition.
type Idempotency = repeats.Key

// NewIdempotency returns the identity of a request; see repeats.New.
func NewIdempotency(key, operation, path string, body []byte) Idempotency {
	return repeats.New(key, operation, path, body)
}

// ForgetIdempotencyKeys deletes keys older than 24 hours, and those that the server itself made after 10 minutes, and returns how many.
func (c Control) ForgetIdempotencyKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetIdempotencyKeys(ctx) })
}
