// SPDX-License-Identifier: Apache-2.0

// Package oidcprovider runs a real OpenID Connect provider for tests: zitadel's library with its example storage and login pages, and
// users, clients and signing keys of our own. It speaks plain HTTP on loopback, which clients must be told to allow.
//
// Start is for tests that run it in their own process. The command in cmd/ runs it as a process of its own. What a user does in a
// browser is done by the functions in browse.go, which know only the issuer's URL and so work with both.
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

// User is somebody who can log in.
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

	mu    sync.Mutex
	asked map[string]int
	down  bool
}

// New makes a provider that is going to be served at an issuer's URL.
func New(issuer string) (*Provider, error) {
	clients := map[string]*storage.Client{}
	for _, id := range []string{Client, OtherClient} {
		clients[id] = storage.NativeClient(id, redirects...)
	}
	s := &store{Storage: storage.NewStorageWithClients(userStore{}, clients)}
	if err := s.rotate(); err != nil {
		return nil, err
	}
	p := &Provider{Issuer: issuer, store: s, asked: map[string]int{}}
	p.handler = oftenPolled(exampleop.SetupServer(issuer, s, nil, false))
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
	p.asked[r.URL.Path]++
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

// Rotate makes a new key that signs from now on. The earlier ones stay published.
func (p *Provider) Rotate() error { return p.store.rotate() }

// SetDown makes every response a 503, or not.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Asked tells how many requests there were for a path, such as /keys or /.well-known/openid-configuration.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// oftenPolled lets devices ask every second. The example fixes five, and tests have better things to do.
func oftenPolled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/device_authorization" {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&replacing{ResponseWriter: w, from: []byte(`"interval":5`), to: []byte(`"interval":1`)}, r)
	})
}

// replacing replaces something in a response that is written at once by something of the same length.
type replacing struct {
	http.ResponseWriter
	from, to []byte
}

// Write implements io.Writer.
func (w *replacing) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write(bytes.Replace(p, w.from, w.to, 1))
}
