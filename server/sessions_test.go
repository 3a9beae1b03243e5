// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"husk/server/deliver"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/session"
	"husk/session/ws"
)

// sessionFixture is a tenant with a pod on a node. The node's agent is a substitute that uses the
// real protocol and runs a test's handler. The end-to-end tests cover the real agent.
type sessionFixture struct {
	fixture
	tenant tenancy
	pod    uuid.UUID
}

// newSessionFixture places a pod on a node. The handler act serves the sessions with the node's
// pods.
func newSessionFixture(t testing.TB, s fixture, act http.HandlerFunc) sessionFixture {
	t.Helper()
	token := as[openapi.JoinToken](t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{}), 201).Token
	node, agent, holder := s.register(token, named("node"))
	srv := httptest.NewUnstartedServer(act)
	srv.Listener = tls.NewListener(srv.Listener, pki.AgentListener(s.auth.Root(), holder))
	srv.Start()
	t.Cleanup(srv.Close)
	body := map[string]any{}
	maps.Copy(body, heartbeatBody)
	body["endpoint"] = "https://" + srv.Listener.Addr().String()
	as[openapi.Lease](t, agent.call("POST", "/v1/agent/heartbeat", "", body), 200)
	c := s.tenant()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	return sessionFixture{s, c, pod.ID}
}

// agentSession returns a handler that accepts a session as an agent does and runs act with it.
func agentSession(t testing.TB, act func(conn session.Conn, r *http.Request)) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Accept(w, r)
		if err != nil {
			t.Errorf("the server does not open a WebSocket: %v", err)
			return
		}
		act(conn, r)
		_ = conn.End()
	}
}

// echo sends the input back until it ends, and then exits with the code 7.
func echo(conn session.Conn, _ *http.Request) {
	for {
		f, err := conn.Receive()
		if err != nil {
			return
		}
		if f.Kind == session.EOF {
			_ = session.SendExit(conn, session.Status{Code: 7})
			return
		}
		if conn.Send(session.Stdout, f.Payload) != nil {
			return
		}
	}
}

func (s sessionFixture) dial(token, verb string, header ...string) (*ws.Conn, openapi.Problem, error) {
	s.t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, answer, err := ws.Dial(s.t.Context(), &http.Client{Transport: withProtocols(h)}, s.url+"/v1/pods/"+s.pod.String()+"/"+verb, h)
	if err == nil {
		s.t.Cleanup(func() { _ = conn.Close() })
		return conn, openapi.Problem{}, nil
	}
	var p openapi.Problem
	if answer != nil {
		if e := json.Unmarshal(answer.Body, &p); e != nil || p.Status != answer.Status {
			s.t.Errorf("%s is refused without a problem: %d %s, %v", verb, answer.Status, answer.Body, e)
		}
	}
	return nil, p, err
}

// withProtocols sets the subprotocols of a request. The WebSocket library would not send these.
type withProtocols http.Header

func (p withProtocols) RoundTrip(r *http.Request) (*http.Response, error) {
	if given := http.Header(p).Get("Sec-WebSocket-Protocol"); given != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Sec-WebSocket-Protocol", given)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// last receives until a session ends. It returns the output and the last frame.
func last(t *testing.T, conn session.Conn) (out string, f session.Frame) {
	t.Helper()
	late := time.AfterFunc(patience, func() { _ = conn.Close() })
	defer late.Stop()
	for {
		f, err := conn.Receive()
		if err != nil {
			t.Fatalf("the connection ends after %q: %v", out, err)
		}
		if f.Kind.Final() {
			return out, f
		}
		out += string(f.Payload)
	}
}

func wantFault(t *testing.T, conn session.Conn, code husk.Code) {
	t.Helper()
	_, f := last(t, conn)
	if fault, err := session.ParseFault(f.Payload); f.Kind != session.Problem || err != nil || fault.Code != string(code) || fault.Detail == "" {
		t.Errorf("the session ends with %d %s, want %s", f.Kind, f.Payload, code)
	}
}

func TestASessionGoesThroughAnyServer(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 10)
	first := newSessionFixture(t, open(t), agentSession(t, func(conn session.Conn, r *http.Request) {
		requests <- r.URL.RequestURI()
		if r.Header.Get("Authorization") != "" || strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), "bearer") {
			t.Error("the agent receives the caller's token")
		}
		echo(conn, r)
	}))
	second := first
	second.fixture = first.another()
	for i, s := range []sessionFixture{first, second} {
		conn, _, err := s.dial(s.tenant.token, "exec?command=sh&command=-c&command=echo+%22a+b%22&tty=true&stdin=true&cols=80&rows=24")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(conn.Send(session.Stdin, []byte("hello")), conn.Send(session.EOF, nil)); err != nil {
			t.Fatal(err)
		}
		out, f := last(t, conn)
		if status, err := session.ParseStatus(f.Payload); out != "hello" || f.Kind != session.Exit || err != nil || status.Code != 7 {
			t.Errorf("server %d: %q, then %d %s", i, out, f.Kind, f.Payload)
		}
		want := "/v1/pods/" + s.pod.String() + "/exec?container=main&command=sh&command=-c&command=echo+%22a+b%22&stdin=true&tty=true&cols=80&rows=24"
		if got := <-requests; got != want {
			t.Errorf("the agent gets the request\n%s, want\n%s", got, want)
		}
	}
	entries := as[openapi.AuditList](t, first.call("GET", "/v1/audit", first.tenant.token, nil), 200).Items
	n := 0
	for _, e := range entries {
		if e.Operation == "execInPod" {
			n++
			if e.Detail == nil || *e.Detail != `container main: sh -c "echo \"a b\""` || *e.ObjectID != first.pod.String() || e.ActorName == "" || e.Address == nil {
				t.Errorf("the entry is %+v", e)
			}
		}
	}
	if n != 2 {
		t.Errorf("two sessions wrote %d entries to the audit log", n)
	}
}

// A stolen node must not choose where the server connects, because other services in its network
// may trust the server.
func TestTheServerDoesNotFollowAnAgentsRedirect(t *testing.T) {
	t.Parallel()
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the server sends %s %s to where the agent redirects it", r.Method, r.URL)
	}))
	defer inside.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		s := newSessionFixture(t, open(t), func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL+r.URL.Path, status) })
		if _, _, err := s.dial(s.tenant.token, "exec?command=sh"); err == nil {
			t.Error("a session is opened")
		}
		for _, path := range []string{"logs", "stats"} {
			if a := s.call("GET", "/v1/pods/"+s.pod.String()+"/"+path, s.tenant.token, nil); a.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	}
}

func TestAnErrorBeforeASessionIsAProblem(t *testing.T) {
	t.Parallel()
	s := newSessionFixture(t, open(t), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"type":"about:blank","title":"x","status":422,"code":"command_not_found","detail":"exec: \"x\": not found in PATH"}`)
	})
	exec := "exec?command=x"
	if _, p, err := s.dial(s.tenant.token, exec); err == nil || p.Code != string(husk.CodeCommandNotFound) || p.Status != 422 || p.RequestID == nil || *p.Detail != `exec: "x": not found in PATH` {
		t.Errorf("the agent's refusal gets the response %+v, %v", p, err)
	}
	wantProblem(t, s.call("GET", "/v1/pods/"+s.pod.String()+"/"+exec, s.tenant.token, nil), http.StatusUpgradeRequired, husk.CodeUpgradeRequired, "")
	wantProblem(t, s.call("GET", "/v1/pods/"+s.pod.String()+"/exec", s.tenant.token, nil), 422, husk.CodeInvalid, "command")
	wantProblem(t, s.call("GET", "/v1/pods/"+s.pod.String()+"/"+exec+"&container=none", s.tenant.token, nil), 422, husk.CodeInvalid, "container")
	if _, p, err := s.dial(s.tenant.token, exec, "Origin", "https://evil.example.com"); err == nil || p.Code != string(husk.CodeForbidden) {
		t.Errorf("a page of another site gets the response %+v, %v", p, err)
	}
	for _, origin := range []string{s.url, issuer} { // the address of the API, and its public URL
		conn, p, err := s.dial("", exec, "Origin", origin, "Sec-WebSocket-Protocol", session.Protocol+", "+session.BearerPrefix+s.tenant.token)
		if err != nil {
			t.Fatalf("a browser at %s gets the response %+v, %v", origin, p, err)
		}
		wantFault(t, conn, husk.CodeCommandNotFound)
	}
	// A token in the subprotocols is accepted for sessions only.
	got := s.call("GET", "/v1/pods", "", nil, "Sec-WebSocket-Protocol", session.BearerPrefix+s.tenant.token)
	wantProblem(t, got, http.StatusUnauthorized, husk.CodeUnauthenticated, "")

	pending := sessionFixture{s.fixture, s.tenant, s.fixture.createPod(s.tenant).ID}
	if _, p, err := pending.dial(s.tenant.token, exec); err == nil || p.Code != string(husk.CodeConflict) {
		t.Errorf("a pod that is not placed gets the response %+v, %v", p, err)
	}
	if _, p, err := s.dial(s.tokenOf(s.tenant, husk.RoleViewer), exec); err == nil || p.Code != string(husk.CodeForbidden) {
		t.Errorf("a viewer gets the response %+v, %v", p, err)
	}
}

// The node receives the settings stdin and tty of a container. They limit what a client can request
// when it attaches.
func TestAttachingFollowsTheContainersStdinAndTTY(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 1)
	s := newSessionFixture(t, open(t), agentSession(t, func(conn session.Conn, r *http.Request) {
		requests <- r.URL.RequestURI()
		echo(conn, r)
	}))
	body := s.tenant.body(named("pod"))
	plain := body["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	body["spec"].(map[string]any)["containers"] = []any{
		map[string]any{"name": "shell", "image": plain["image"], "stdin": true, "tty": true},
		map[string]any{"name": "filter", "image": plain["image"], "stdin": true, "stdinOnce": true, "privileged": true},
		plain,
	}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", s.tenant.token, body), 201)
	_, node, _, err := s.db.Tenant(s.tenant.owner).OpenSession(t.Context(), s.pod, "look")
	if err != nil {
		t.Fatal(err)
	}
	s.place(node.ID, s.tenant, pod.ID)
	state, err := s.store.Desired(t.Context(), node.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range state.Changes {
		if d.PodID == pod.ID {
			desired, err := deliver.States{Monitors: s.cfg.CephMonitors, VolumesPool: s.cfg.VolumesPool}.Pod(*d.Pod)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range desired.Containers {
				got = append(got, fmt.Sprintf("%s stdin=%t once=%t tty=%t privileged=%t\n", c.Name, c.Stdin, c.StdinOnce, c.TTY, c.Privileged))
			}
		}
	}
	if want := "shell stdin=true once=false tty=true privileged=false\nfilter stdin=true once=true tty=false privileged=true\nmain stdin=false once=false tty=false privileged=false\n"; strings.Join(got, "") != want {
		t.Errorf("the node's desired state is\n%swant\n%s", strings.Join(got, ""), want)
	}

	s.pod = pod.ID
	for query, want := range map[string]struct{ field, detail string }{
		"container=main&stdin=true": {"stdin", "container main has no standard input. Leave stdin out, or create the pod with stdin: true"},
		"container=filter&tty=true": {"tty", "container filter has no terminal. Leave tty out, or create the pod with tty: true"},
	} {
		_, p, err := s.dial(s.tenant.token, "attach?"+query)
		if err == nil || p.Code != string(husk.CodeConflict) || *p.Field != want.field || *p.Detail != want.detail {
			t.Errorf("%s gets the response %+v, %v", query, p, err)
		}
		conn, p, err := s.dial("", "attach?"+query, "Origin", s.url, "Sec-WebSocket-Protocol", session.Protocol+", "+session.BearerPrefix+s.tenant.token)
		if err != nil {
			t.Fatalf("a browser gets the response %+v, %v", p, err)
		}
		wantFault(t, conn, husk.CodeConflict)
	}
	conn, p, err := s.dial(s.tenant.token, "attach?container=shell&stdin=true&tty=true&cols=80&rows=24&backlog=true")
	if err != nil {
		t.Fatalf("%+v %v", p, err)
	}
	if err := errors.Join(conn.Send(session.Stdin, []byte("typed")), conn.Send(session.EOF, nil)); err != nil {
		t.Fatal(err)
	}
	if out, f := last(t, conn); out != "typed" || f.Kind != session.Exit {
		t.Errorf("%q, then %d %s", out, f.Kind, f.Payload)
	}
	if got, want := <-requests, "/v1/pods/"+pod.ID.String()+"/attach?container=shell&stdin=true&tty=true&cols=80&rows=24&backlog=true"; got != want {
		t.Errorf("the agent gets the request\n%s, want\n%s", got, want)
	}
	for _, e := range as[openapi.AuditList](t, s.call("GET", "/v1/audit", s.tenant.token, nil), 200).Items {
		if e.Operation == "attachToPod" && *e.Detail != "container shell: attach with input" {
			t.Errorf("the audit log has %q", *e.Detail)
		}
	}
}

func TestTheServerEndsSessions(t *testing.T) {
	t.Parallel()
	silent := func(conn session.Conn, _ *http.Request) {
		for {
			if _, err := conn.Receive(); err != nil {
				return
			}
		}
	}
	t.Run("an idle session", func(t *testing.T) {
		t.Parallel()
		s := open(t).configured(func(c *Config) { c.SessionIdle, c.SessionCheck = 200*time.Millisecond, 20*time.Millisecond })
		stage := newSessionFixture(t, s, agentSession(t, silent))
		conn, _, err := stage.dial(stage.tenant.token, "attach")
		if err != nil {
			t.Fatal(err)
		}
		wantFault(t, conn, husk.CodeSessionIdle)
	})
	t.Run("a session of a revoked key", func(t *testing.T) {
		t.Parallel()
		s := open(t).configured(func(c *Config) { c.SessionCheck = 20 * time.Millisecond })
		stage := newSessionFixture(t, s, agentSession(t, silent))
		account := as[openapi.ServiceAccount](t, s.call("POST", "/v1/service-accounts", stage.tenant.token, map[string]any{"name": "ci", "role": "developer"}), 201)
		keys := "/v1/service-accounts/" + account.ID.String() + "/api-keys"
		key := as[openapi.APIKeyWithSecret](t, s.call("POST", keys, stage.tenant.token, map[string]any{"name": "k"}), 201)
		token, err := s.auth.IssueTokenFor(t.Context(), husk.Caller{
			Kind: husk.CallerTenant, ID: account.ID, TenantID: stage.tenant.id, Role: husk.RoleDeveloper, KeyID: key.ClientID, Name: "ci",
		}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		conn, _, err := stage.dial(token, "exec?command=sh")
		if err != nil {
			t.Fatal(err)
		}
		if a := s.call("DELETE", keys+"/"+key.ClientID.String(), stage.tenant.token, nil); a.status != 204 {
			t.Fatalf("the key is not deleted: %+v", a)
		}
		wantFault(t, conn, husk.CodeUnauthenticated)
	})
	t.Run("a session whose agent disconnects", func(t *testing.T) {
		t.Parallel()
		stage := newSessionFixture(t, open(t), agentSession(t, func(conn session.Conn, _ *http.Request) { _ = conn.Close() }))
		conn, _, err := stage.dial(stage.tenant.token, "exec?command=sh")
		if err != nil {
			t.Fatal(err)
		}
		wantFault(t, conn, husk.CodeUnavailable)
	})
	t.Run("a session whose client violates the protocol", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		stage := newSessionFixture(t, open(t), agentSession(t, func(conn session.Conn, r *http.Request) { echo(conn, r); close(gone) }))
		conn, _, err := stage.dial(stage.tenant.token, "exec?command=sh")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(session.Exit, []byte(`{"code":0}`)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		case <-time.After(patience):
			t.Error("the agent's session does not end")
		}
	})
}
