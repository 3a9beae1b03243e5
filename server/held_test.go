// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/server/held"
)

// attackWatches is how many watches a single tenant could open before there was a limit.
const attackWatches = 2000

func TestATenantCannotHoldManyStreams(t *testing.T) {
	t.Parallel()
	s := open(t).configured(func(c *Config) { c.Held = held.Limits{Watches: 20, Logs: 5} })
	attacker, other := s.tenant(), s.tenant()
	opened := 0
	for ; opened < attackWatches; opened++ {
		resp, err := s.web.Do(s.request("GET", "/v1/pods?watch=true", attacker.token, nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			break
		}
	}
	if opened != 20 {
		t.Errorf("a tenant has opened %d watches, want 20", opened)
	}
	a := s.call("GET", "/v1/volumes?watch=true", attacker.token, nil)
	wantProblem(t, a, http.StatusTooManyRequests, husk.CodeConcurrencyLimit, "watch")
	if a.header.Get("Retry-After") != "1" || !strings.Contains(a.problem.Code+*a.problem.Detail, "20 open watches") {
		t.Errorf("the refusal is %s with Retry-After %q", a.body, a.header.Get("Retry-After"))
	}
	if a := s.call("GET", "/v1/pods", attacker.token, nil); a.status != http.StatusOK {
		t.Errorf("a list gets the response %d %s", a.status, a.body)
	}
	if !readUntil(s.stream("/v1/pods?watch=true", other.token), "synced") {
		t.Error("the watch of another tenant ends before it sends synced")
	}
	if got := s.metric(`husk_http_concurrency_refused_total{kind="watches"}`); got != 2 {
		t.Errorf("%v refusals are counted, want 2", got)
	}
}

// TestATenantCannotHoldManyRequests sends headers of requests that promise a body, and no body. It sends more than the limit, because the
// requests that it polls with count too.
func TestATenantCannotHoldManyRequests(t *testing.T) {
	t.Parallel()
	s := open(t).configured(func(c *Config) { c.Held = held.Limits{Requests: 10, Bytes: 1 << 20} })
	attacker, other := s.tenant(), s.tenant()
	for _, c := range []struct {
		name           string
		requests, size int
	}{{"requests", 40, 100}, {"bodies", 40, 120 << 10}} {
		var conns []net.Conn
		for range c.requests {
			conns = append(conns, s.halfRequest(attacker.token, c.size))
		}
		body := map[string]any{"name": named("v"), "sizeGiB": 1, "labels": map[string]string{"a": "b"}}
		var a response
		// Until the server has read the headers. One of these requests may be slow on a busy machine, so their number counts too.
		tries := 0
		for deadline := time.Now().Add(patience); a.problem.Code != string(husk.CodeConcurrencyLimit) && (tries < 50 || time.Now().Before(deadline)); tries++ {
			if c.name == "bodies" {
				a = s.call("POST", "/v1/volumes", attacker.token, strings.Repeat(" ", 120<<10))
			} else {
				a = s.call("GET", "/v1/pods", attacker.token, nil)
			}
		}
		if a.problem.Code != string(husk.CodeConcurrencyLimit) {
			for i, conn := range conns { // those that were answered hold nothing
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				answer, err := io.ReadAll(conn)
				t.Logf("%s: after %d tries, request %d is answered with %q: %v", c.name, tries, i, answer, err)
			}
		}
		wantProblem(t, a, http.StatusTooManyRequests, husk.CodeConcurrencyLimit, "")
		if a := s.call("POST", "/v1/volumes", other.token, body); a.status != http.StatusCreated {
			t.Errorf("%s: another tenant gets the response %d %s", c.name, a.status, a.body)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
		for deadline := time.Now().Add(patience); a.status != http.StatusOK && time.Now().Before(deadline); {
			a = s.call("GET", "/v1/pods", attacker.token, nil)
		}
		if a.status != http.StatusOK {
			t.Errorf("%s: after the connections have ended, the tenant gets the response %d %s", c.name, a.status, a.body)
		}
	}
}

// halfRequest opens a connection and sends a request without its body.
func (s fixture) halfRequest(token string, size int) net.Conn {
	s.t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	head := "POST /v1/volumes HTTP/1.1\r\nHost: husk\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n"
	if _, err := io.Copy(conn, bytes.NewBufferString(head)); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// TestATenantCannotHoldManyResponses reads long lists slowly.
func TestATenantCannotHoldManyResponses(t *testing.T) {
	t.Parallel()
	s := open(t).configured(func(c *Config) { c.Held = held.Limits{Bytes: 8 << 20} })
	attacker := s.tenant()
	file := map[string]any{"path": "/etc/data", "content": strings.Repeat("x", 250<<10)}
	for range 10 {
		pod := attacker.body(named("pod"))
		pod["spec"].(map[string]any)["containers"] = []any{map[string]any{"name": "main", "image": attacker.image.Reference, "files": []any{file, map[string]any{"path": "/etc/more", "content": file["content"]}}}} //nolint:forcetypeassert // see body
		if a := s.call("POST", "/v1/pods", attacker.token, pod); a.status != http.StatusCreated {
			t.Fatalf("creating a pod gets the response %d %s", a.status, a.body)
		}
	}
	held := 0
	for range 10 {
		resp, err := http.DefaultTransport.RoundTrip(s.request("GET", "/v1/pods", attacker.token, nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode == http.StatusOK {
			held++
		}
	}
	if held != 1 {
		t.Errorf("a tenant holds %d responses of 5 MiB at once; the limit is 8 MiB", held)
	}
}
