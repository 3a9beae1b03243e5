// SPDX-License-Identifier: Apache-2.0

// Package oidcprovider runs a real OpenID Connect provider for tests. It uses zitadel's library
// with its example storage and login pages, and its own users, clients and signing keys. It serves
// plain HTTP on loopback, so clients must be configured to allow that.
//
// Start runs the provider in the test's process. The command in cmd/ runs it in a separate process.
// The functions in browse.go do what a user does in a browser. They need only the issuer's URL, so
// they work with both.
package oidcprovider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// User is a person who can log in.
type User struct {
	Subject  string
	Name     string // to log in with; the claim preferred_username
	Password string
	Email    string
	Verified bool     // the claim email_verified
	Groups   []string // the claim groups; without groups, the claim is missing
}

// The users.
var (
	Owner     = User{"subject-owner", "owner", "owner-password", "owner@example.com", true, []string{"husk-owners", "everybody"}}
	Developer = User{"subject-developer", "developer", "developer-password", "developer@example.com", true, []string{"husk-developers", "everybody"}}
	Stranger  = User{"subject-stranger", "stranger", "stranger-password", "stranger@example.com", false, nil}
)

var users = []User{Owner, Developer, Stranger}

// The clients: native ones without a secret, for the authorization code with PKCE and for devices.
const (
	Client      = "husk"
	OtherClient = "other"
)

// redirects may have any port.
var redirects = []string{"http://127.0.0.1/callback", "http://localhost/callback", "http://127.0.0.1/ui/login/callback"}

// Provider is a running provider.
type Provider struct {
	Issuer string // http://127.0.0.1:PORT

	handler http.Handler
	store   *store

	mu       sync.Mutex
	requests map[string]int
	down     bool
}

// New creates a provider with an issuer's URL. The caller serves it at this URL.
func New(issuer string) (*Provider, error) {
	clients := map[string]*storage.Client{}
	for _, id := range []string{Client, OtherClient} {
		clients[id] = storage.NativeClient(id, redirects...)
	}
	s := &store{Storage: storage.NewStorageWithClients(userStore{}, clients)}
	if err := s.rotate(); err != nil {
		return nil, err
	}
	p := &Provider{Issuer: issuer, store: s, requests: map[string]int{}}
	p.handler = pollEverySecond(exampleop.SetupServer(issuer, s, nil, false))
	return p, nil
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return p
}

// Serve serves until ctx ends.
func (p *Provider) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() }) //nolint:errcheck // it is a provider for tests
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", p.Issuer, err)
	}
	return nil
}

// rotatePath is where Rotate requests a new signing key.
const rotatePath = "/test/rotate"

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	down := p.down
	p.mu.Unlock()
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case r.Method == http.MethodPost && r.URL.Path == rotatePath:
		if err := p.Rotate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	default:
		p.handler.ServeHTTP(w, r)
	}
}

// Rotate creates a new key, which signs from now on. The earlier keys stay published.
func (p *Provider) Rotate() error { return p.store.rotate() }

// SetDown sets whether the provider is down. While it is down, every response is a 503.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Requests returns the number of requests for a path, such as /keys or
// /.well-known/openid-configuration.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// pollEverySecond lets devices poll every second. The example has a fixed interval of five seconds,
// which is too long for tests.
func pollEverySecond(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/device_authorization" {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&replacing{ResponseWriter: w, from: []byte(`"interval":5`), to: []byte(`"interval":1`)}, r)
	})
}

// replacing replaces bytes in a response by as many other bytes. The response must be written in
// one call.
type replacing struct {
	http.ResponseWriter
	from, to []byte
}

// Write implements io.Writer.
func (w *replacing) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write(bytes.Replace(p, w.from, w.to, 1))
}
