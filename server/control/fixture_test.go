// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/dev/devtest"
	"husk/store"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// patience is how long a test waits for an event in another process or goroutine.
const patience = 30 * time.Second

// fixture is a database with one tenant and one image, filled through the store's own methods.
type fixture struct {
	store.Control
	t      *testing.T
	tenant store.Tenant
	image  husk.Image
	id     store.ID // of the tenant
}

func open(t *testing.T) fixture {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	s, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(s.Close)
	f := fixture{Control: s.Control(), t: t}
	tenant, err := f.CreateTenant(t.Context(), once(), "tenant", husk.DefaultQuota)
	must(t, err)
	key, err := f.CreateTenantKey(t.Context(), tenant.ID, once(), "owner", store.KeyRequest{Name: "test"})
	must(t, err)
	caller, err := f.Authenticate(t.Context(), key.ClientID, key.Secret)
	must(t, err)
	f.id, f.tenant = tenant.ID, s.Tenant(caller)
	f.image, err = f.tenant.CreateImage(t.Context(), once(), "registry.example.com/web:1", "sha256:web", husk.ImageConfig{Cmd: []string{"true"}}, nil)
	must(t, err)
	must(t, f.ImageMade(t.Context(), f.image, 1<<20, false, "abc", nil))
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// once returns an idempotency key for a request that is not repeated.
func once() store.Idempotency { return store.NewIdempotency("", "test", "/v1/test", nil) }

// node adds a node and returns it. It has joined and is Ready.
func (f fixture) node(name string, size husk.Resources, labels map[string]string) husk.Node {
	f.t.Helper()
	token, err := f.CreateJoinToken(f.t.Context(), once(), time.Hour, nil)
	must(f.t, err)
	id, _, err := f.RegisterNode(f.t.Context(), token.Secret, name, func(store.ID) (store.IssuedCertificate, error) {
		return store.IssuedCertificate{Serial: uuid.NewString(), PEM: "PEM", ExpiresAt: time.Now().Add(time.Hour)}, nil
	})
	must(f.t, err)
	_, _, err = f.Heartbeat(f.t.Context(), store.Beat{Node: husk.Node{ID: id, Capacity: size, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443"}})
	must(f.t, err)
	n, err := f.UpdateNode(f.t.Context(), id, func(s husk.NodeSettings) husk.NodeSettings { s.Labels = labels; return s })
	must(f.t, err)
	return n
}

// scheduling returns the loop that places pods.
func (f fixture) scheduling() *scheduling {
	log := slog.New(slog.DiscardHandler)
	return newScheduling(f.Control, log, newMetrics(prometheus.NewRegistry()), 0)
}

// pod creates a pod and returns it. It is pending.
func (f fixture) pod(n int, size husk.Resources, labels map[string]string, scheduling *husk.Scheduling) husk.Pod {
	f.t.Helper()
	p, err := f.tenant.CreatePod(f.t.Context(), once(), fmt.Sprintf("pod-%d", n), labels, nil, husk.PodSpec{
		Containers: []husk.Container{{Name: "main", Image: f.image.Reference}}, Resources: size, RestartPolicy: husk.RestartAlways, Scheduling: scheduling,
	})
	must(f.t, err)
	return p
}
