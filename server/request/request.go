// SPDX-License-Identifier: Apache-2.0

// Package request holds what a server knows about the API request under way. The contract fills it in; handlers, problems, logs and
// metrics read it. The packages under server share it, so it imports none of them.
package request

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// WriteTimeout is how long a client may take to accept one piece of a response before the connection is closed.
const WriteTimeout = 30 * time.Second

// Request is one request under way.
type Request struct {
	ID          string // sent back as X-Request-Id
	Operation   string // as in the contract, in Go's spelling; "none" until the route is known
	Path        string
	Address     netip.Addr // where it came from
	HTTP        *http.Request
	Caller      husk.Caller
	Expires     time.Time // of the caller's token
	Certificate string    // serial of the certificate that an agent has presented
	Body        []byte
	Items       Items // of a batch that the contract checks item by item
	BasicUser   string
	BasicPass   string
	HasBasic    bool

	// Take counts bytes that the request's response holds until the request ends; nil means that they are not limited.
	Take func(bytes int) error
}

// Hold counts bytes that the response holds until the request ends. Codes: concurrency_limit.
func (r *Request) Hold(bytes int) error {
	if r.Take == nil {
		return nil
	}
	return r.Take(bytes)
}

type key struct{}

// New starts a request with a new id. It returns the HTTP request that carries it.
func New(r *http.Request) (*http.Request, *Request) {
	req := &Request{ID: uuid.NewString(), Operation: "none"}
	return r.WithContext(context.WithValue(r.Context(), key{}, req)), req
}

// Of returns the request under way, and an empty one where there is none.
func Of(ctx context.Context) *Request {
	if r, ok := ctx.Value(key{}).(*Request); ok {
		return r
	}
	return &Request{}
}

// Idempotency identifies the request for the store. header is its Idempotency-Key, if it has one.
func (r *Request) Idempotency(header *string) store.Idempotency {
	k := ""
	if header != nil {
		k = *header
	}
	return store.NewIdempotency(k, r.Operation, r.Path, r.Body)
}

// ForStore returns what the store records with every change that the request makes.
func (r *Request) ForStore(caller husk.Caller) store.Request {
	s := store.Request{ID: r.ID, Operation: r.Operation, Caller: caller, Address: r.Address}
	if r.HTTP != nil {
		s.IfMatch = r.HTTP.Header.Get("If-Match")
	}
	return s
}
