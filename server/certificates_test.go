// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
)

// certificates lists a node's certificates as an operator does.
func (s fixture) certificates(node uuid.UUID) []openapi.NodeCertificate {
	s.t.Helper()
	return as[openapi.NodeCertificateList](s.t, s.call("GET", "/v1/admin/nodes/"+node.String()+"/certificates", s.operator(), nil), 200).Items
}

func (s fixture) revoke(node uuid.UUID) {
	s.t.Helper()
	if a := s.call("DELETE", "/v1/admin/nodes/"+node.String()+"/certificates", s.operator(), nil); a.status != http.StatusNoContent {
		s.t.Fatalf("revoking responds with %d %s", a.status, a.body)
	}
}

// renew requests a certificate for a new key.
func (s fixture) renew() (key string, renewed openapi.RenewedCertificate) {
	s.t.Helper()
	key, request, err := pki.NewRequest()
	if err != nil {
		s.t.Fatal(err)
	}
	return key, as[openapi.RenewedCertificate](s.t, s.call("POST", "/v1/agent/certificate", "", map[string]any{"certificateRequest": request}), 200)
}

func TestARevokedCertificateIsRefusedAtTheNextRequest(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	_, other := s.node()
	state := as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	waiting := make(chan response)
	go func() {
		waiting <- agent.call("GET", fmt.Sprintf("/v1/agent/desired?after=%d&waitSeconds=60", state.Revision), "", nil)
	}()
	s.revoke(node)
	for _, op := range operations(s.contract.spec) {
		if authorizedKind(op) == husk.CallerAgent { // over the connection that was opened before the revocation
			wantProblem(t, agent.call(op.method, op.path, "", nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
		}
	}
	if a := other.call("POST", "/v1/agent/heartbeat", "", heartbeatBody); a.status != http.StatusOK {
		t.Errorf("another node's certificate was revoked too: %s", a.body)
	}
	list := s.certificates(node)
	if len(list) != 1 || list[0].RevokedAt == nil || len(list[0].Serial) != 32 || time.Until(list[0].ExpiresAt) > time.Hour {
		t.Errorf("the certificates are %+v", list)
	}
	// A pending request for the desired state, which contains keys, is refused too.
	c := s.tenant()
	s.place(node, c, s.createPod(c).ID)
	select {
	case a := <-waiting:
		wantProblem(t, a, http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	case <-time.After(patience):
		t.Fatal("the placement does not end the pending request")
	}
	for _, at := range []string{"GET", "DELETE"} {
		wantProblem(t, s.call(at, "/v1/admin/nodes/"+uuid.NewString()+"/certificates", s.operator(), nil), http.StatusNotFound, husk.CodeNotFound, "")
	}
}

func TestANodeIsReadmittedByATokenThatNamesIt(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	name := as[openapi.Node](t, s.call("GET", "/v1/admin/nodes/"+node.String(), s.operator(), nil), 200).Name
	wantProblem(t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{"nodeId": uuid.New()}), http.StatusNotFound, husk.CodeNotFound, "")
	again, anew := s.join(name, map[string]any{"nodeId": node})
	if again != node {
		t.Errorf("node %s was re-admitted as %s", node, again)
	}
	wantProblem(t, agent.call("POST", "/v1/agent/heartbeat", "", heartbeatBody), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	if a := anew.call("POST", "/v1/agent/heartbeat", "", heartbeatBody); a.status != http.StatusOK {
		t.Errorf("the re-admitted node is refused: %s", a.body)
	}
}

func TestADeletedNodeIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	if a := s.call("DELETE", "/v1/admin/nodes/"+node.String(), s.operator(), nil); a.status != http.StatusNoContent {
		t.Fatal(a.body)
	}
	wantProblem(t, agent.call("POST", "/v1/agent/heartbeat", "", heartbeatBody), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
}

func TestANodeRenewsItsCertificate(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	if metrics := s.call("GET", "/metrics", s.operator(), nil); !strings.Contains(metrics.body, `husk_node_certificate_expiry_timestamp_seconds{node="node-`) {
		t.Error("the metrics do not say when the certificate expires")
	}
	key, renewed := agent.renew()
	cert, err := pki.NodeCertificate(s.auth.Root(), node.String(), renewed.Certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Authority != s.auth.Root().PEM() {
		t.Errorf("the authority is %s", renewed.Authority)
	}
	h := &pki.NodeHolder{}
	h.Replace(cert)
	renewedAgent := s.over(pki.AgentClient(s.auth.Root(), h))
	for _, a := range []fixture{agent, renewedAgent} { // the old certificate is valid until it expires
		if got := a.call("POST", "/v1/agent/heartbeat", "", heartbeatBody); got.status != http.StatusOK {
			t.Errorf("a heartbeat gets the response %d %s", got.status, got.body)
		}
	}
	if list := s.certificates(node); len(list) != 2 {
		t.Errorf("the certificates are %+v", list)
	}
	s.revoke(node)
	for _, a := range []fixture{agent, renewedAgent} {
		wantProblem(t, a.call("POST", "/v1/agent/heartbeat", "", heartbeatBody), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	}
}

func TestAMalformedCertificateRequestIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	wantProblem(t, agent.call("POST", "/v1/agent/certificate", "", map[string]any{"certificateRequest": "hello"}), 422, husk.CodeInvalid, "certificateRequest")
	token := as[openapi.JoinToken](t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{}), 201).Token
	register := func(token, request string) response {
		t.Helper()
		return s.call("POST", "/v1/agent/register", "", map[string]any{"token": token, "name": "metal", "certificateRequest": request})
	}
	_, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, register(token, "hello"), 422, husk.CodeInvalid, "certificateRequest")
	secret, fingerprint, _ := strings.Cut(token, ".")
	for _, bad := range []string{"", "made up", secret, "x" + token, "." + fingerprint} {
		wantProblem(t, register(bad, request), http.StatusUnauthorized, husk.CodeUnauthenticated, "token")
	}
	if a := register(token, request); a.status != http.StatusCreated {
		t.Errorf("refused requests have used up the token: %s", a.body)
	}
	if list := s.certificates(node); len(list) != 1 {
		t.Errorf("the node has the certificates %+v, want only the first", list)
	}
}

// Reports of a node about other nodes' pods change nothing, and the node learns nothing about these pods.
func TestANodeReachesItsOwnPodsOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	_, stranger := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	at := "/v1/pods/" + pod.ID.String()
	placed := as[openapi.Pod](t, s.call("GET", at, c.token, nil), 200)
	for _, event := range []husk.PhaseEvent{husk.EventRunning, husk.EventFailed, husk.EventStopping, husk.EventGone} {
		s.report(stranger, pod.ID, 1, event)
		if now := as[openapi.Pod](t, s.call("GET", at, c.token, nil), 200); now.Status.Phase != placed.Status.Phase || len(now.Status.Containers) > 0 {
			t.Errorf("after another node has reported %s the pod is %+v", event, now.Status)
		}
	}
	if desired := as[openapi.DesiredState](t, stranger.call("GET", "/v1/agent/desired", "", nil), 200); len(desired.Pods) != 0 {
		t.Errorf("another node's desired state is %+v", desired.Pods)
	}
	for _, path := range []string{at, at + "/logs", "/v1/pods", "/v1/admin/nodes", "/v1/admin/nodes/" + node.String()} {
		wantProblem(t, agent.call("GET", path, "", nil), http.StatusUnauthorized, husk.CodeUnauthenticated, "")
	}
	s.report(agent, pod.ID, 1, husk.EventRunning)
	if now := as[openapi.Pod](t, s.call("GET", at, c.token, nil), 200); now.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("after its own node has reported it the pod is %s", now.Status.Phase)
	}
}

// endpoint returns an agent's endpoint: it sends a line of a log to every client that passes its TLS.
func endpoint(t *testing.T, config *tls.Config) string {
	t.Helper()
	end := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "hello\n")
	}))
	end.Config.ErrorLog = log.New(io.Discard, "", 0)
	end.Listener = tls.NewListener(end.Listener, config)
	end.Start()
	t.Cleanup(end.Close)
	return "https://" + end.Listener.Addr().String()
}

func TestAServerReadsLogsFromThePodsOwnNodeOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	join := func() (uuid.UUID, fixture, *pki.NodeHolder) {
		t.Helper()
		token := as[openapi.JoinToken](t, s.call("POST", "/v1/admin/join-tokens", s.operator(), map[string]any{}), 201).Token
		return s.register(token, named("node"))
	}
	node, agent, holder := join()
	_, _, other := join()
	beat := func(endpoint string) {
		t.Helper()
		body := map[string]any{"capacity": heartbeatBody["capacity"], "vmmOverheadMiB": 50, "endpoint": endpoint}
		if a := agent.call("POST", "/v1/agent/heartbeat", "", body); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
	}
	root := s.auth.Root()
	t.Cleanup(func() { s.agents.CloseIdleConnections() })
	beat(endpoint(t, pki.AgentListener(root, holder)))
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	logs := func() response { t.Helper(); return s.call("GET", "/v1/pods/"+pod.ID.String()+"/logs", c.token, nil) }
	if a := logs(); a.status != http.StatusOK || a.body != "hello\n" {
		t.Errorf("the log is %d %q", a.status, a.body)
	}
	beat(endpoint(t, pki.AgentListener(root, other))) // another node serves the endpoint
	wantProblem(t, logs(), http.StatusServiceUnavailable, husk.CodeLogsUnavailable, "")
	beat(endpoint(t, pki.AgentListener(root, holder)))
	if a := logs(); a.status != http.StatusOK {
		t.Errorf("the log is %d %q", a.status, a.body)
	}
	s.revoke(node)
	wantProblem(t, logs(), http.StatusServiceUnavailable, husk.CodeLogsUnavailable, "")
}
