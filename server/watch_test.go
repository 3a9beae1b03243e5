// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
)

// stream opens a watch and returns its lines.
func (s fixture) stream(path, token string) <-chan string {
	s.t.Helper()
	resp, err := s.web.Do(s.request("GET", path, token, nil))
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("the watch gets the response %s", resp.Status)
	}
	lines := make(chan string, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(lines)
		for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
			lines <- scan.Text()
		}
	})
	s.t.Cleanup(func() { _ = resp.Body.Close(); reading.Wait() })
	return lines
}

// readUntil reads a stream until a line contains the text. It returns false if the stream ends
// first.
func readUntil(lines <-chan string, text string) bool {
	for line := range lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func TestAHundredWatchersHoldNoConnection(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	const watchers = 100
	streams := make([]<-chan string, watchers)
	for i := range streams {
		streams[i] = s.stream([]string{"/v1/volumes?watch=true", "/v1/events?watch=true"}[i%2], c.token)
		if !readUntil(streams[i], "synced") {
			t.Fatal("a watch ends before it sends synced")
		}
	}
	db, err := pgx.Connect(t.Context(), s.database(store.RoleControl))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	var connections, busy int
	if err := db.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = 'husk_tenant'`).Scan(&connections, &busy); err != nil {
		t.Fatal(err)
	}
	if connections > 6 || busy > 0 {
		t.Errorf("%d watchers hold %d connections, %d of them busy", watchers, connections, busy)
	}
	v := as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	for _, lines := range streams {
		if !readUntil(lines, v.ID.String()) {
			t.Fatal("a watch ends without showing the change")
		}
	}
}

func TestAWatchEndsWhenItsKeyIsRevoked(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	account := as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": "ci", "role": "viewer"}), 201)
	path := "/v1/service-accounts/" + account.ID.String()
	key := as[openapi.APIKeyWithSecret](t, s.call("POST", path+"/api-keys", c.token, map[string]any{"name": "k"}), 201)
	caller, err := s.store.Authenticate(t.Context(), key.ClientID, key.ClientSecret)
	if err != nil {
		t.Fatal(err)
	}
	lines := s.stream("/v1/pods?watch=true", s.token(caller))
	if !readUntil(lines, "synced") {
		t.Fatal("the watch ends before it sends synced")
	}
	if a := s.call("DELETE", path+"/api-keys/"+key.ClientID.String(), c.token, nil); a.status != 204 {
		t.Fatalf("revoking gets the response %d", a.status)
	}
	s.createPod(c) // the watch must not show this pod
	if readUntil(lines, `"name"`) {
		t.Error("a watch of a revoked key shows a change")
	}
}

// The hint of an earlier change can make a feed read a later one, before any hint says that the key was revoked.
func TestARevokedKeySeesNoChangeThatAnEarlierHintShows(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	db, err := pgx.Connect(t.Context(), s.database(store.RoleControl))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	hinting := make(chan struct{})
	go func() {
		defer close(hinting)
		for ctx.Err() == nil {
			_, _ = db.Exec(ctx, "SELECT pg_notify('husk', 'tenant:' || $1::text)", c.id)
		}
	}()
	defer func() { stop(); <-hinting; _ = db.Close(context.WithoutCancel(ctx)) }()
	for range 10 {
		account := as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": named("ci"), "role": "viewer"}), 201)
		path := "/v1/service-accounts/" + account.ID.String()
		key := as[openapi.APIKeyWithSecret](t, s.call("POST", path+"/api-keys", c.token, map[string]any{"name": "k"}), 201)
		caller, err := s.store.Authenticate(t.Context(), key.ClientID, key.ClientSecret)
		if err != nil {
			t.Fatal(err)
		}
		lines := s.stream("/v1/volumes?watch=true", s.token(caller))
		if !readUntil(lines, "synced") {
			t.Fatal("the watch ends before it sends synced")
		}
		s.call("POST", "/v1/volumes", c.token, map[string]any{"name": named("early"), "sizeGiB": 1}) // the next hints wait until these are sent
		if a := s.call("DELETE", path+"/api-keys/"+key.ClientID.String(), c.token, nil); a.status != 204 {
			t.Fatalf("revoking gets the response %d", a.status)
		}
		name := named("late")
		s.call("POST", "/v1/volumes", c.token, map[string]any{"name": name, "sizeGiB": 1})
		if readUntil(lines, name) {
			t.Fatal("a watch of a revoked key shows a change")
		}
	}
}

func TestAFilteredWatchShowsOnlyMatchingObjects(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	lines := s.stream("/v1/pods?watch=true&labelSelector=app%3Dweb", c.token)
	if !readUntil(lines, "synced") || !readUntil(lines, "data: {}") {
		t.Fatal("the watch ends before it sends synced")
	}
	s.createPod(c) // this pod has no label
	pod := c.body("web")
	pod["labels"] = map[string]any{"app": "web"}
	made := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, pod), 201)
	if line := <-lines; line != "" { // the end of the previous event
		t.Errorf("the stream continues with %q", line)
	}
	if kind := <-lines; kind != "event: added" {
		t.Errorf("the stream continues with %q", kind)
	}
	if data := <-lines; !strings.Contains(data, made.ID.String()) {
		t.Errorf("the stream shows %s", data)
	}
	if a := s.call("DELETE", "/v1/pods/"+made.ID.String(), c.token, nil); a.status != 202 {
		t.Fatalf("deleting gets the response %d", a.status)
	}
	if !readUntil(lines, "event: deleted") {
		t.Error("the stream does not show the deletion")
	}
	wantProblem(t, s.call("GET", "/v1/pods?watch=true&labelSelector=%21%21", c.token, nil), 422, husk.CodeInvalid, "labelSelector")
}

// TestWatchesShareTheirReads counts the transactions that changes cause while many watches are open.
func TestWatchesShareTheirReads(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	_, agent := s.node()
	pod := s.createPod(c)
	node, err := s.store.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.place(node[0].ID, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventStarting)
	const watchers, changes = 100, 20
	streams := make([]<-chan string, watchers)
	for i := range streams {
		streams[i] = s.stream("/v1/pods?watch=true", c.token)
		if !readUntil(streams[i], "synced") {
			t.Fatal("a watch ends before it sends synced")
		}
	}
	db, err := pgx.Connect(t.Context(), s.database(store.RoleOwner))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	// Each transaction of a tenant begins with this function.
	var function string
	if err := db.QueryRow(t.Context(), "SELECT pg_get_functiondef('begin_tenant'::regproc)").Scan(&function); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE SEQUENCE transactions", "GRANT USAGE ON transactions TO PUBLIC",
		strings.Replace(function, "BEGIN\n", "BEGIN\n PERFORM nextval('transactions');\n", 1),
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	transactions := func() (n int) {
		t.Helper()
		if err := db.QueryRow(t.Context(), "SELECT last_value FROM transactions").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := transactions()
	for i := range changes {
		a := agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{map[string]any{
			"podId": pod.ID, "generation": 1, "event": husk.EventStarting, "restarts": i + 1, "containers": []any{},
		}}})
		if a.status != http.StatusNoContent {
			t.Fatalf("the report gets the response %d %s", a.status, a.body)
		}
		if !readUntil(streams[0], fmt.Sprintf(`"restarts":%d`, i+1)) {
			t.Fatal("a watch ends without showing the change")
		}
	}
	for _, lines := range streams[1:] {
		if !readUntil(lines, fmt.Sprintf(`"restarts":%d`, changes)) {
			t.Fatal("a watch ends without showing the last change")
		}
	}
	if n := transactions() - before; n > watchers*changes/4 {
		t.Errorf("%d changes with %d watches cause %d transactions of their tenant", changes, watchers, n)
	}
}
