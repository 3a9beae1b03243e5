package store

import (
	"context"
	"net/netip"
	"strings"

	"husk"
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
