package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retrier sends a request again when the connection broke, when the API says that a part of it is down for now, or when it says that
// there were too many requests. After a lost connection it does so only where a repetition is harmless: for methods that are, for
// tokens, and for POSTs that carry an Idempotency-Key.
type retrier struct {
	next  http.RoundTripper
	pause func(ctx context.Context, d time.Duration) error
}

const (
	attempts = 5
	// longestRetryAfter is how long a single answer may make us wait. What asks for more is better told to the person.
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
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // only so that the connection can be used again
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

// delay says whether to send a request once more, and when.
func delay(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	switch {
	case !rewindable(req):
		return 0, false
	case err != nil:
		return backoff(attempt), repeatable(req) && req.Context().Err() == nil
	case resp.StatusCode == http.StatusTooManyRequests: // it was not looked at, whatever it was
		d, given := retryAfter(resp)
		if !given {
			d = time.Second
		}
		return d + rand.N(100*time.Millisecond), d <= longestRetryAfter
	case resp.StatusCode == http.StatusServiceUnavailable && !strings.HasSuffix(req.URL.Path, "/logs"):
		d := backoff(attempt)
		if after, given := retryAfter(resp); given && attempt > 1 { // the first time it may be over at once: a server that restarts
			d = max(d, after)
		}
		return d, repeatable(req) && d <= longestRetryAfter
	default: // a log that is not there yet is the caller's to wait for
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

// rewindable tells whether the body can be sent twice.
func rewindable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// repeatable tells whether sending the request twice does what sending it once does.
func repeatable(req *http.Request) bool {
	return req.Method != http.MethodPost || req.Header.Get("Idempotency-Key") != "" || req.URL.Path == tokenPath
}

// rewound is a copy of a request that can be sent once more.
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

// backoff is about 0.1, 0.2, 0.4, 0.8 … seconds, at most about 10, so that a restarting server is not met by everyone at once.
func backoff(attempt int) time.Duration {
	d := 100 * time.Millisecond << min(attempt-1, 7)
	return min(d/2+rand.N(d), 10*time.Second)
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
