// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retrier repeats a request if the connection broke, if the API is temporarily unavailable (503), or if there were too many requests
// (429). After a lost connection or a 503 it repeats only what is safe to repeat: idempotent methods, requests for tokens, and POSTs that
// carry an Idempotency-Key.
type retrier struct {
	next  http.RoundTripper
	pause func(ctx context.Context, d time.Duration) error
}

const (
	attempts = 5
	// longestRetryAfter is the longest Retry-After that the client obeys. If a response has a longer one, the caller gets the response.
	// The client ignores the Retry-After of a first 503.
	longestRetryAfter = 30 * time.Second
)

// RoundTrip implements http.RoundTripper.
func (r retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := r.next.RoundTrip(req)
		d, again := delay(req, resp, err, attempt)
		if attempt == attempts || !again {
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // only so that the connection can be reused
			resp.Body.Close()
		}
		if e := r.pause(req.Context(), d); e != nil {
			return nil, e
		}
		if req, err = rewound(req); err != nil {
			return nil, err
		}
	}
}

// delay reports whether to repeat a request, and after how long.
func delay(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	switch {
	case !rewindable(req):
		return 0, false
	case err != nil:
		return backoff(attempt), repeatable(req) && req.Context().Err() == nil
	case resp.StatusCode == http.StatusTooManyRequests: // the server did nothing with it, so any request may be repeated
		d, given := retryAfter(resp)
		if !given {
			d = time.Second
		}
		return d + rand.N(100*time.Millisecond), d <= longestRetryAfter
	case resp.StatusCode == http.StatusServiceUnavailable && !strings.HasSuffix(req.URL.Path, "/logs"):
		d := backoff(attempt)
		if after, given := retryAfter(resp); given && attempt > 1 { // not the first time: a server that restarts is back at once
			d = max(d, after)
		}
		return d, repeatable(req) && d <= longestRetryAfter
	default: // also a 503 of a log that does not exist yet: the caller decides how long to wait for it
		return 0, false
	}
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 && seconds < 1<<20 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

// rewindable reports whether the body can be sent twice.
func rewindable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// repeatable reports whether sending the request twice has the same effect as sending it once.
func repeatable(req *http.Request) bool {
	return req.Method != http.MethodPost || req.Header.Get("Idempotency-Key") != "" || req.URL.Path == tokenPath
}

// rewound returns a copy of a request that can be sent again.
func rewound(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

// backoff is about 0.1, 0.2, 0.4, 0.8 … seconds, at most about 10. The jitter keeps clients from returning to a restarted server all at once.
func backoff(attempt int) time.Duration {
	d := 100 * time.Millisecond << min(attempt-1, 7)
	return min(d/2+rand.N(d), 10*time.Second)
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
