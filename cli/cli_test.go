// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"husk/cli/connect"
	"husk/cli/exit"
	"husk/openapi"
)

// call runs husk with a handler as the API. test/cli and the end-to-end tests run it with the real
// API.
func call(t *testing.T, api http.HandlerFunc, args ...string) (code int, out, errs string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth2/token" {
			w.Header().Set("Content-Type", "application/json")
			if _, secret, _ := r.BasicAuth(); secret != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"invalid_client","error_description":"unknown client or wrong secret"}`)
				return
			}
			fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("%s was called without the token", r.URL)
		}
		api(w, r)
	}))
	t.Cleanup(s.Close)
	isolate(t)
	t.Setenv("HUSK_API", s.URL)
	t.Setenv("HUSK_CLIENT_ID", "id")
	t.Setenv("HUSK_CLIENT_SECRET", "secret")
	return command(t, args...)
}

// isolate isolates a test from the contexts and the environment of the user who runs it.
func isolate(t *testing.T) {
	t.Helper()
	for _, name := range append(connect.Environment, "HUSK_CONTEXT") {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = run(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func problemOf(w http.ResponseWriter, status int, code, field, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	p := openapi.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: &detail}
	if field != "" {
		p.Field = &field
	}
	_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // the client has gone
}

func TestUsageErrorsExitWith2(t *testing.T) {
	for _, args := range [][]string{
		{"nope"},
		{"help", "nope"},
		{"completion", "nope"},
		{"run"},
		{"run", "--memory", "12", "a"},
		{"run", "--wait=walking", "a"},
		{"run", "-d", "--rm", "a"},
		{"run", "-p", "80", "a"},
		{"run", "-h"},
		{"run", "--mount", "type=volume", "a"},
		{"run", "-v", "/srv:/srv", "a"},
		{"run", "-o", "json", "a"},
		{"pods", "--output", "xml"},
		{"pods", "--what"},
		{"pods", "a", "-l", "b"},
		{"get"},
		{"get", "racks"},
		{"apply"},
		{"wait", "volume/a", "--for", "running"},
		{"service-account", "create", "a"},
		{"user", "create", "a", "--role", "owner"},
		{"context"},
		{"login"},
		{"login", "husk.example.com"},
		{"volume", "create", "data"},
		{"delete", "pod"},
		{"delete", "node", "a"},
		{"image", "import", "a", "--username", "me"},
		{"logs", "a", "--tail", "-1"},
	} {
		code, _, errs := call(t, func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("%v sent a request to %s, although its usage is wrong", args, r.URL)
		}, args...)
		if code != exit.Usage || !strings.HasPrefix(errs, "husk: ") {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
}

func TestEnvironmentMustBeComplete(t *testing.T) {
	isolate(t)
	t.Setenv("HUSK_CLIENT_ID", "id")
	code, _, errs := command(t, "pods")
	if code != exit.Usage || !strings.Contains(errs, "HUSK_API is not set") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestErrorWithoutALoginNamesTheLoginCommand(t *testing.T) {
	isolate(t)
	code, _, errs := command(t, "pods")
	if code != exit.Refused || !strings.Contains(errs, "husk login URL") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestProblemIsOneLineAndAnExitCode(t *testing.T) {
	for _, c := range []struct {
		status      int
		code, field string
		want        string
		exit        int
	}{
		{http.StatusForbidden, "quota_exceeded", "sizeGiB", "husk: why (quota_exceeded, field sizeGiB)\n", exit.Limit},
		{http.StatusConflict, "name_taken", "", "husk: why (name_taken)\n", exit.Conflict},
		{http.StatusUnprocessableEntity, "image_not_found", "", "husk: why (image_not_found)\n", exit.NotFound},
		{http.StatusInternalServerError, "internal", "", "husk: why (internal)\n", exit.Unavailable},
	} {
		code, out, errs := call(t, func(w http.ResponseWriter, _ *http.Request) { problemOf(w, c.status, c.code, c.field, "why") },
			"volume", "create", "data", "--size", "1Gi")
		if code != c.exit || errs != c.want || out != "" {
			t.Errorf("%s: exit code %d, %q; want %d, %q", c.code, code, errs, c.exit, c.want)
		}
	}
}

func TestControlCharactersFromTheAPIAreRemoved(t *testing.T) {
	_, _, errs := call(t, func(w http.ResponseWriter, _ *http.Request) {
		problemOf(w, http.StatusConflict, "conflict", "", "a\x1b[2Jb\nc")
	}, "volume", "create", "data", "--size", "1Gi")
	if errs != "husk: a [2Jb c (conflict)\n" {
		t.Errorf("%q", errs)
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	call(t, func(http.ResponseWriter, *http.Request) {}, "version")
	t.Setenv("HUSK_CLIENT_SECRET", "wrong")
	code, _, errs := command(t, "pods")
	if code != exit.Refused || !strings.Contains(errs, "unknown client or wrong secret (invalid_client)") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestResponseOfAnotherServerIsReported(t *testing.T) {
	code, _, errs := call(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) }, "pods")
	if code != exit.Unavailable || !strings.Contains(errs, "is the URL right?") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestRequestWithoutResponseIsRetriedWithTheSameIdempotencyKey(t *testing.T) {
	var calls atomic.Int32
	var keys, bodies [5]string
	code, out, errs := call(t, func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		keys[n-1], bodies[n-1] = r.Header.Get("Idempotency-Key"), body.String()
		switch n {
		case 1:
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
		case 2:
			problemOf(w, http.StatusServiceUnavailable, "unavailable", "", "later")
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"name":"data"}`)
		}
	}, "volume", "create", "data", "--size", "1Gi")
	if code != exit.OK || out != "volume/data created\n" || calls.Load() != 3 {
		t.Errorf("exit code %d after %d calls, %q, %q", code, calls.Load(), out, errs)
	}
	if keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] || bodies[0] == "" || bodies[0] != bodies[2] {
		t.Errorf("keys %q, bodies %q", keys, bodies)
	}
}

func TestUnreachableAPIExitsWith7(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	call(t, func(http.ResponseWriter, *http.Request) {}, "version")
	t.Setenv("HUSK_API", "http://"+l.Addr().String())
	if code, _, errs := command(t, "pods"); code != exit.Unavailable {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestListReadsEveryPage(t *testing.T) {
	_, out, errs := call(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			fmt.Fprint(w, `{"items":[{"name":"a"}],"nextCursor":"next"}`)
			return
		}
		fmt.Fprint(w, `{"items":[{"name":"b"}]}`)
	}, "volumes", "-o", "name")
	if out != "volume/a\nvolume/b\n" {
		t.Errorf("%q, %q", out, errs)
	}
}

func TestEmptyListIsPrintedAsAList(t *testing.T) {
	empty := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[]}`) }
	for format, want := range map[string]string{
		"json": "{\n  \"apiVersion\": \"husk/v1\",\n  \"kind\": \"List\",\n  \"items\": []\n}\n", "yaml": "apiVersion: husk/v1\nkind: List\nitems: []\n", "name": "",
	} {
		if _, out, errs := call(t, empty, "volumes", "-o", format); out != want {
			t.Errorf("%s: %q, %q", format, out, errs)
		}
	}
}

func TestDeleteContinuesAfterAFailure(t *testing.T) {
	code, out, errs := call(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{}`)
		case r.URL.Query().Get("name") == "b":
			fmt.Fprint(w, `{"items":[{"name":"b"}]}`)
		default:
			fmt.Fprint(w, `{"items":[]}`)
		}
	}, "delete", "volume", "a", "b")
	if code != exit.NotFound || out != "volume/b is being deleted\n" || errs != "husk: there is no volume \"a\" (not_found)\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}
