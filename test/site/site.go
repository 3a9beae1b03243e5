// SPDX-License-Identifier: Apache-2.0

// Package site starts an installation without machines for the tests of clients. The server runs in
// the test's process, with a real Postgres, a real OIDC provider and one node. The node is an agent
// whose containers understand a few commands; see node.go.
package site

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/dev/devtest"
	"husk/egress"
	"husk/server"
	"husk/server/control"
	"husk/service/address"
	"husk/store"
	"husk/test/oidcprovider"
)

// Site is one installation. Each test creates its own tenant.
type Site struct {
	DB       *store.Store
	Control  store.Control
	URL      string // of the API
	Operator uuid.UUID
	Provider *oidcprovider.Provider

	agentURL string
}

// OperatorSecret is the secret of Site.Operator.
const OperatorSecret = "a secret of the operator"

// Image is the reference of an image that every tenant has.
const Image = "registry.example.com/busybox:1"

// Start starts an installation, which stops at the end of the test.
func Start(t testing.TB) *Site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	st, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 8, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, FloatingRange: address.Range{First: netip.MustParseAddr("203.0.113.1"), Last: netip.MustParseAddr("203.0.113.254")}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	s, err := server.New(t.Context(), server.Config{
		Store: st, Issuer: "https://husk.example.com", Log: log, Terms: control.LeaseTerms{Heartbeat: 10 * time.Second, Lease: time.Minute, Margin: 5 * time.Second, Brake: 1}, NodeCertificateLife: 24 * time.Hour, LoginsPerSecond: 10_000,
		CephMonitors: []string{"192.0.2.1:6789"}, ImagesPool: "images", VolumesPool: "volumes",
		Egress: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	operator := uuid.New()
	if err := st.Control().EnsureOperator(t.Context(), operator, OperatorSecret); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	agents := httptest.NewUnstartedServer(s.Handler())
	agents.TLS = s.AgentTLS()
	agents.StartTLS()
	t.Cleanup(agents.Close)
	site := &Site{DB: st, Control: st.Control(), URL: web.URL, Operator: operator, Provider: oidcprovider.Start(t), agentURL: agents.URL}
	startNode(t, site)
	return site
}

// Tenant is a tenant with an API key of an owner.
type Tenant struct {
	ID           uuid.UUID
	Name         string
	ClientID     uuid.UUID
	ClientSecret string
}

var serial atomic.Int64

// Tenant creates a tenant that has the image.
func (s *Site) Tenant(ctx context.Context) (Tenant, error) {
	name := fmt.Sprintf("tenant-%d", serial.Add(1))
	quota := husk.DefaultQuota
	quota.RequestsPerSecond = 100_000 // scripts send more requests than people
	tenant, err := s.Control.CreateTenant(ctx, store.NewIdempotency("", name, "", nil), name, quota)
	if err != nil {
		return Tenant{}, err
	}
	key, err := s.Control.CreateTenantKey(ctx, tenant.ID, store.NewIdempotency("", name, "", nil), "owner", store.KeyRequest{Name: "first"})
	if err != nil {
		return Tenant{}, err
	}
	owner, err := s.Control.Authenticate(ctx, key.ClientID, key.Secret)
	if err != nil {
		return Tenant{}, err
	}
	image, err := s.DB.Tenant(owner).CreateImage(ctx, store.NewIdempotency("", name, "", nil), Image, "sha256:"+name, husk.ImageConfig{Cmd: []string{"sh"}}, nil)
	if err != nil {
		return Tenant{}, err
	}
	if err := s.Control.ImageMade(ctx, image, 1<<20, false, name, nil); err != nil {
		return Tenant{}, err
	}
	return Tenant{tenant.ID, name, key.ClientID, key.Secret}, nil
}
