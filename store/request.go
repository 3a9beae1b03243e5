// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"net/netip"
	"strings"

	"husk"
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
