// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/pki"
)

// authority is the server's side of joining and renewing. It admits any node that has the secret,
// and records the certificates of the callers.
type authority struct {
	*pki.Authority
	url  string
	node uuid.UUID

	mu      sync.Mutex
	life    time.Duration
	failing bool     // renewals fail
	seen    []string // serials of the certificates used for heartbeats, each once
	joins   int
}

const secret = "open sesame"

func installation(t *testing.T, life time.Duration) *authority {
	t.Helper()
	made, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := pki.NewServerHolder(made)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{Authority: made, node: uuid.New(), life: life}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/agent/register", a.register)
	mux.HandleFunc("POST /v1/agent/certificate", a.renew)
	mux.HandleFunc("POST /v1/agent/heartbeat", a.heartbeat)
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Listener = tls.NewListener(s.Listener, pki.ServerListener(made.Root(), own))
	s.Start()
	t.Cleanup(s.Close)
	a.url = "https://" + s.Listener.Addr().String()
	return a
}

func (a *authority) token() string { return pki.NewJoinToken(secret, a.Root()) }

func (a *authority) config(t *testing.T) Config {
	t.Helper()
	return Config{ServerURL: a.url, JoinToken: a.token(), NodeName: "metal-1", StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
}

func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // types of this test
}

func (a *authority) register(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var body openapi.NodeRegistration
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Token != a.token() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.joins++
	if a.joins == 1 { // the first response is lost
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	issued, err := a.IssueNode(a.node.String(), body.CertificateRequest, a.life)
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	respond(w, http.StatusCreated, openapi.NodeIdentity{NodeID: a.node, Certificate: issued.PEM, Authority: a.Root().PEM()})
}

func (a *authority) renew(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var body openapi.CertificateRenewal
	peer, err := pki.PeerNode(r.TLS)
	if err != nil || a.failing || json.NewDecoder(r.Body).Decode(&body) != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	issued, err := a.IssueNode(peer.ID, body.CertificateRequest, a.life)
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	respond(w, http.StatusOK, openapi.RenewedCertificate{Certificate: issued.PEM, Authority: a.Root().PEM()})
}

func (a *authority) heartbeat(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	peer, err := pki.PeerNode(r.TLS)
	if err != nil || peer.ID != a.node.String() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if len(a.seen) == 0 || a.seen[len(a.seen)-1] != peer.Serial {
		a.seen = append(a.seen, peer.Serial)
	}
	respond(w, http.StatusOK, openapi.Lease{LeaseSeconds: 30, HeartbeatSeconds: 10})
}

func (a *authority) set(f func()) { a.mu.Lock(); defer a.mu.Unlock(); f() }

// agent returns the part of an agent that renews an identity.
func (a *authority) agent(t *testing.T, cfg Config, id *identity) *renewal {
	t.Helper()
	holder := &pki.NodeHolder{}
	holder.Replace(id.cert)
	server := newServerClient(cfg.ServerURL, id.root, holder)
	t.Cleanup(server.close)
	return &renewal{server: server, holder: holder, file: identityFile(cfg.StateDir), tls: tlsFiles(cfg.StateDir), log: cfg.Log, id: id}
}

func load(t *testing.T, cfg Config) *identity {
	t.Helper()
	id, err := loadIdentity(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestANodeJoinsOnceAndKeepsItsIdentity(t *testing.T) {
	t.Parallel()
	a := installation(t, time.Hour)
	cfg := a.config(t)
	if err := os.WriteFile(seenFile(cfg.StateDir), []byte("7"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := load(t, cfg) // succeeds although the first response was lost
	if id.NodeID != a.node {
		t.Errorf("the node is %s, want %s", id.NodeID, a.node)
	}
	if _, err := os.Stat(seenFile(cfg.StateDir)); err == nil {
		t.Error("the revision of the previous node was not removed")
	}
	if needed, node := NeedsToken(cfg.StateDir); needed || *node != a.node {
		t.Errorf("after joining, NeedsToken returns %v and node %v", needed, node)
	}
	again := load(t, cfg)
	if again.CertificatePEM != id.CertificatePEM || a.joins != 2 {
		t.Errorf("a joined node joined again: %d joins", a.joins)
	}
	info, err := os.Stat(identityFile(cfg.StateDir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity can be read by others: %v %v", info.Mode(), err)
	}
	if _, err := a.agent(t, cfg, again).server.heartbeat(t.Context(), openapi.Heartbeat{}); err != nil {
		t.Error(err)
	}
}

func TestAnAgentJoinsOnlyTheInstallationOfItsToken(t *testing.T) {
	t.Parallel()
	a, other := installation(t, time.Hour), installation(t, time.Hour)
	cfg := a.config(t)
	cfg.ServerURL = other.url
	if _, err := loadIdentity(t.Context(), cfg); !errors.Is(err, pki.ErrOtherInstallation) || other.joins != 0 {
		t.Errorf("the token was sent to another installation: %v", err)
	}
	cfg = a.config(t)
	cfg.JoinToken = "x" + cfg.JoinToken
	if _, err := loadIdentity(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a refused token: %v", err)
	}
	for _, token := range []string{"", "x"} {
		cfg.JoinToken = token
		if _, err := loadIdentity(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "join token") {
			t.Errorf("the token %q: %v", token, err)
		}
	}
	cfg = a.config(t)
	cfg.ServerURL = strings.Replace(cfg.ServerURL, "https", "http", 1)
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--agent-listen") {
		t.Errorf("a server without TLS: %v", err)
	}
}

func TestAnUnusableIdentityNeedsAToken(t *testing.T) {
	t.Parallel()
	a := installation(t, time.Hour)
	for what, kept := range map[string]string{
		"damaged":                   "{",
		"written by an older agent": `{"nodeId": "` + uuid.NewString() + `", "clientId": "` + uuid.NewString() + `", "clientSecret": "x", "certificate": "x", "key": "x"}`,
		"expired": func() string {
			key, request, err := pki.NewRequest()
			if err != nil {
				t.Fatal(err)
			}
			issued, err := a.IssueNode(a.node.String(), request, -time.Second)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(identity{NodeID: a.node, CertificatePEM: issued.PEM, KeyPEM: key, AuthorityPEM: a.Root().PEM()})
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}(),
	} {
		cfg := a.config(t)
		if err := os.WriteFile(identityFile(cfg.StateDir), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
		if needed, node := NeedsToken(cfg.StateDir); !needed || (node == nil) != (what == "damaged") {
			t.Errorf("with an identity that is %s, NeedsToken returns %v and node %v", what, needed, node)
		}
		without := cfg
		without.JoinToken = ""
		if _, err := loadIdentity(t.Context(), without); err == nil || !strings.Contains(err.Error(), "re-admits") {
			t.Errorf("an identity that is %s: %v", what, err)
		}
		if id := load(t, cfg); id.NodeID != a.node {
			t.Errorf("an identity that was %s now belongs to node %s", what, id.NodeID)
		}
		load(t, without)
	}
}

func TestAnAgentRenewsItsCertificateWhileItWorks(t *testing.T) {
	t.Parallel()
	a := installation(t, 3*time.Second)
	cfg := a.config(t)
	r := a.agent(t, cfg, load(t, cfg))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.run(ctx) })
	// Each heartbeat uses a connection that is kept open, which would keep using an old
	// certificate. After two renewals, the certificate from the join has expired.
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if _, err := r.server.heartbeat(ctx, openapi.Heartbeat{}); err != nil {
			t.Errorf("heartbeat refused: %v", err)
		}
		var n int
		a.set(func() { n = len(a.seen) })
		if n > 2 || time.Now().After(deadline) {
			tick.Stop()
			break
		}
	}
	cancel()
	running.Wait()
	if len(a.seen) < 3 {
		t.Fatalf("heartbeats came with the certificates %v", a.seen)
	}
	if kept := load(t, cfg); kept.CertificatePEM != r.id.CertificatePEM || a.joins != 2 {
		t.Error("the stored certificate is not the renewed one")
	}
}

func TestARenewalThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	a := installation(t, time.Hour)
	cfg := a.config(t)
	id := load(t, cfg)
	r := a.agent(t, cfg, id)
	a.set(func() { a.failing = true })
	if err := r.renew(t.Context()); err == nil || r.id != id {
		t.Errorf("no certificate was issued, and the error is %v", err)
	}
	a.set(func() { a.failing = false })
	good := r.file
	r.file = filepath.Join(cfg.StateDir, "no such directory", "identity.json")
	if err := r.renew(t.Context()); err == nil || r.id != id {
		t.Errorf("the certificate cannot be stored, and the error is %v", err)
	}
	issued := r.next
	if kept := load(t, cfg); kept.CertificatePEM != id.CertificatePEM || issued == nil {
		t.Error("the stored identity has changed")
	}
	if _, err := r.server.heartbeat(t.Context(), openapi.Heartbeat{}); err != nil {
		t.Error(err)
	}
	r.file = good
	a.set(func() { a.failing = true }) // storing the issued certificate does not need the server
	if err := r.renew(t.Context()); err != nil || r.id != issued {
		t.Errorf("the issued certificate was not stored: %v", err)
	}
	if kept := load(t, cfg); kept.CertificatePEM != issued.CertificatePEM {
		t.Error("another certificate was stored")
	}
}

func TestRenewalsAreRetriedMoreOftenTowardsTheEnd(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{
		10 * 24 * time.Hour: time.Hour, time.Hour: 6 * time.Minute, 10 * time.Second: time.Second, time.Millisecond: time.Second, 0: time.Minute,
	} {
		if got := renewalRetry(left); got != want {
			t.Errorf("with %s left the next attempt is in %s, want %s", left, got, want)
		}
	}
}
