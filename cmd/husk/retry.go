package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// retrier sends a request again when the connection broke or the API says that a part of it is down for now. It does so only where a
// repetition is harmless: for methods that are, for tokens, and for POSTs that carry an Idempotency-Key.
type retrier struct {
	next  http.RoundTripper
	pause func(ctx context.Context, attempt int) error
}

const attempts = 5

// RoundTrip implements http.RoundTripper.
func (r retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(req)
		if attempt == attempts || !repeatable(req) || !passing(req, resp, err) {
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // only so that the connection can be used again
			resp.Body.Close()
		}
		if e := r.pause(req.Context(), attempt); e != nil {
			return nil, e
		}
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
	}
}

// repeatable tells whether sending the request twice does what sending it once does.
func repeatable(req *http.Request) bool {
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	return req.Method != http.MethodPost || req.Header.Get("Idempotency-Key") != "" || req.URL.Path == "/oauth2/token"
}

// passing tells whether the trouble may be over soon. A log that is not there yet is the caller's to wait for.
func passing(req *http.Request, resp *http.Response, err error) bool {
	if err != nil {
		return req.Context().Err() == nil
	}
	return resp.StatusCode == http.StatusServiceUnavailable && !strings.HasSuffix(req.URL.Path, "/logs")
}

// backoff waits about 0.1, 0.2, 0.4, 0.8 seconds, so that a restarting server is not met by everyone at once.
func backoff(ctx context.Context, attempt int) error {
	d := 100 * time.Millisecond << (attempt - 1)
	return wait(ctx, d/2+rand.N(d))
}

// wait pauses, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
