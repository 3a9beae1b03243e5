// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"husk/egress"
)

const (
	// maxDocument limits everything that is not a blob: manifests, tokens, errors. Registries
	// themselves accept manifests up to 4 MiB.
	maxDocument = 4 << 20

	stallTimeout = 60 * time.Second // without a byte of a body
)

// guard is the http.RoundTripper for one call. The policy of package egress decides which hosts
// are allowed, and this type limits what comes back.
type guard struct {
	base *egress.Transport

	// failedAt is the host of the last request that got no response or one with an error, and retryAfter is how long that
	// response asks to wait, in nanoseconds.
	failedAt   atomic.Value
	retryAfter atomic.Int64
}

func newGuard(policy egress.Policy) *guard { return &guard{base: policy.Transport()} }

// close closes idle connections.
func (g *guard) close() { g.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		g.failedAt.Store(req.URL.Host)
		cancel(err)
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		g.failedAt.Store(req.URL.Host)
		g.retryAfter.Store(int64(retryAfter(resp.Header.Get("Retry-After"), time.Now())))
	}
	resp.Request = req // the original; the copy only has this call's context
	body := &boundedBody{body: resp.Body, cancel: cancel, left: maxDocument + 1, failed: func() { g.failedAt.Store(req.URL.Host) }}
	if isBlob(req) {
		body.left = -1 // limited by the size in the manifest, and written to a file
	}
	body.stall = time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	body.ctx = ctx
	resp.Body = body
	return resp, nil
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3): a number of seconds, or a time. A value that cannot be read is zero.
func retryAfter(header string, now time.Time) time.Duration {
	const longest = 365 * 24 * time.Hour
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, longest)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0).Round(time.Second), longest)
	}
	return 0
}

var errStalled = fmt.Errorf("%w: nothing for %s", ErrTooSlow, stallTimeout)

// boundedBody ends a body that is too long or stalls.
type boundedBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  *time.Timer
	failed func() // called when reading fails
	left   int64  // one more than the bytes that may still come; -1: no limit
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("response is longer than %d bytes: %w", maxDocument, ErrTooLarge)
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if errors.Is(err, context.Canceled) {
		err = context.Cause(b.ctx)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed()
	}
	b.stall.Reset(stallTimeout)
	return n, err
}

func (b *boundedBody) Close() error {
	b.stall.Stop()
	err := b.body.Close()
	b.cancel(context.Canceled)
	return err
}

// blobKey is the context key of the one URL whose response may be long.
type blobKey struct{}

// allowBlob lets the response to a request for this blob be longer than a document.
func (c *client) allowBlob(ctx context.Context, digest v1.Hash) context.Context {
	return context.WithValue(ctx, blobKey{}, url.URL{Host: c.repo.RegistryStr(), Path: "/v2/" + c.repo.RepositoryStr() + "/blobs/" + digest.String()})
}

// isBlob reports whether a request is for the blob that allowBlob names. After a redirect, the first
// request counts. isBlob compares host, path and query, because a repository may be named blobs, and
// because the registry chooses the URL of its token server. A request for a token has a query, and
// a request for a blob has none.
func isBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	blob, ok := req.Context().Value(blobKey{}).(url.URL)
	return ok && req.Method == http.MethodGet && req.URL.Host == blob.Host && req.URL.Path == blob.Path && req.URL.RawQuery == ""
}
