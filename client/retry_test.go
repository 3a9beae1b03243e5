// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// responses is a transport that returns these responses in order, and then repeats the last one.
// Each is a status, optionally with a Retry-After; "-" is a broken connection.
type responses struct {
	left []string
	sent []string // the bodies of the requests
}

func (a *responses) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	a.sent = append(a.sent, body)
	now := a.left[0]
	if len(a.left) > 1 {
		a.left = a.left[1:]
	}
	status, after, _ := strings.Cut(now, " ")
	codes := map[string]int{"200": 200, "429": 429, "503": 503, "500": 500}
	if codes[status] == 0 {
		return nil, errors.New("the connection broke")
	}
	resp := &http.Response{StatusCode: codes[status], Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	if after != "" {
		resp.Header.Set("Retry-After", after)
	}
	return resp, nil
}

func TestRetriesOnlySafeRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path, key string
		responses         []string
		want              int // the status, or 0 for no response
		sent              int
		waited            time.Duration // the minimum
	}{
		"a lost response":                         {"GET", "/v1/pods", "", []string{"-", "200"}, 200, 2, 0},
		"a lost response to a POST with a key":    {"POST", "/v1/pods", "key", []string{"-", "200"}, 200, 2, 0},
		"a lost response to a POST without a key": {"POST", "/v1/pods", "", []string{"-", "200"}, 0, 1, 0},
		"a lost response to a token request":      {"POST", tokenPath, "", []string{"-", "503 1", "200"}, 200, 3, 0},
		"too many requests":                       {"POST", "/v1/pods", "", []string{"429 2", "200"}, 200, 2, 2 * time.Second},
		"too many requests, Retry-After too long": {"GET", "/v1/pods", "", []string{"429 3600", "200"}, 429, 1, 0},
		"too many requests, repeatedly":           {"GET", "/v1/pods", "", []string{"429 1"}, 429, attempts, 4 * time.Second},
		"unavailable for a moment":                {"DELETE", "/v1/pods/1", "", []string{"503 1", "503 5", "200"}, 200, 3, 5 * time.Second},
		"unavailable for long":                    {"GET", "/v1/pods", "", []string{"503", "503 60"}, 503, 2, 0},
		"a log that does not exist yet":           {"GET", "/v1/pods/1/logs", "", []string{"503 1", "200"}, 503, 1, 0},
		"an internal error":                       {"GET", "/v1/pods", "", []string{"500", "200"}, 500, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &responses{left: c.responses}
			var waited time.Duration
			r := retrier{server, func(_ context.Context, d time.Duration) error { waited += d; return nil }}
			req, err := http.NewRequestWithContext(t.Context(), c.method, "https://husk.example.com"+c.path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			if c.key != "" {
				req.Header.Set("Idempotency-Key", c.key)
			}
			resp, err := r.RoundTrip(req)
			status := 0
			if err == nil {
				status = resp.StatusCode
				resp.Body.Close()
			}
			if status != c.want || len(server.sent) != c.sent || waited < c.waited || waited > c.waited+5*time.Second {
				t.Errorf("status %d after %d requests and %s, %v", status, len(server.sent), waited, err)
			}
			for _, body := range server.sent {
				if body != "body" {
					t.Errorf("sent %q", body)
				}
			}
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://husk.example.com/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &responses{left: []string{"429 1"}}
	if resp, err := (retrier{server, pause}).RoundTrip(req); !errors.Is(err, context.Canceled) || len(server.sent) != 1 { //nolint:bodyclose // there is none
		t.Errorf("%v, %v after %d requests", resp, err, len(server.sent))
	}
}
