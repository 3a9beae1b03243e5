// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/dev/devtest"
	"husk/service/address"
	"husk/store"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(leadsBy); dsn != "" {
		leadUntilKilled(dsn)
		return
	}
	devtest.Main(m)
}

// patience is how long a test waits for an event in another process or goroutine.
const patience = 30 * time.Second

// fixture is a store with its own migrated database, and helpers to fill it. The helpers call the
// store's methods, so that the rows are the same as on a real installation.
type fixture struct {
	store.Control
	db     *store.Store
	t      testing.TB
	url    devtest.URL
	owners *sync.Map // by tenant: husk.Caller
}

func open(t testing.TB) fixture {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	return fixtureOf(t, openAt(t, url), url)
}

func fixtureOf(t testing.TB, db *store.Store, url devtest.URL) fixture {
	return fixture{db.Control(), db, t, url, &sync.Map{}}
}

func openAt(t testing.TB, url devtest.URL) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{bytes.Repeat([]byte{7}, 32)},
		PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, Reserved: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		FloatingRange: address.Range{First: netip.MustParseAddr("203.0.113.1"), Last: netip.MustParseAddr("203.0.113.254")}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var serial atomic.Int64

// named returns a name that no other object of this test binary has.
func named(what string) string { return fmt.Sprintf("%s-%d", what, serial.Add(1)) }

// once returns an idempotency key for a request that is not repeated.
func once() store.Idempotency { return store.NewIdempotency("", "test", "/v1/test", nil) }

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h fixture) tenant() husk.Tenant { h.t.Helper(); return h.tenantWith(husk.DefaultQuota) }

func (h fixture) tenantWith(q husk.Quota) husk.Tenant {
	h.t.Helper()
	v, err := h.CreateTenant(h.t.Context(), once(), named("tenant"), q)
	return must(h.t, v, err)
}

// as returns the store's methods for an owner of the tenant.
func (h fixture) as(tenant store.ID) store.Tenant {
	h.t.Helper()
	known, ok := h.owners.Load(tenant)
	if !ok {
		key, err := h.CreateTenantKey(h.t.Context(), tenant, once(), "owner-of-tests", store.KeyRequest{Name: "test"})
		must(h.t, key, err)
		known, _ = h.owners.LoadOrStore(tenant, husk.Caller{
			Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: key.ClientID, Role: husk.RoleOwner, TenantID: tenant,
		})
	}
	caller, _ := known.(husk.Caller)
	return h.db.Tenant(caller)
}

// image creates an image and returns it. Its import is complete.
func (h fixture) image(tenant husk.Tenant) husk.Image {
	h.t.Helper()
	digest := "sha256:" + strings.ReplaceAll(uuid.NewString()+uuid.NewString(), "-", "")
	i, err := h.as(tenant.ID).CreateImage(h.t.Context(), once(), "registry.example.com/"+named("image")+":1", digest, husk.ImageConfig{Cmd: []string{"true"}}, nil)
	must(h.t, i, err)
	if err := h.ImageMade(h.t.Context(), i, 1<<20, false, "abc", nil); err != nil {
		h.t.Fatal(err)
	}
	i, err = h.as(tenant.ID).Image(h.t.Context(), i.ID)
	return must(h.t, i, err)
}

// volume creates a volume and returns it. Its RBD image exists.
func (h fixture) volume(tenant husk.Tenant) husk.Volume {
	h.t.Helper()
	v, err := h.as(tenant.ID).CreateVolume(h.t.Context(), once(), named("volume"), map[string]string{}, 1)
	must(h.t, v, err)
	if err := h.VolumeMade(h.t.Context(), v, "def", nil); err != nil {
		h.t.Fatal(err)
	}
	v, err = h.as(tenant.ID).Volume(h.t.Context(), v.ID)
	return must(h.t, v, err)
}

var small = husk.Resources{CPUMillis: 500, MemoryMiB: 128}

func specOf(image husk.Image, volumes ...husk.Volume) husk.PodSpec {
	spec := husk.PodSpec{
		Containers: []husk.Container{{Name: "main", Image: image.Reference}}, Resources: small, RestartPolicy: husk.RestartAlways, GracePeriodSeconds: 1,
	}
	for i, v := range volumes {
		spec.Volumes = append(spec.Volumes, husk.PodVolume{Name: fmt.Sprintf("v%d", i), VolumeID: v.ID})
	}
	return spec
}

func (h fixture) createPod(tenant husk.Tenant, spec husk.PodSpec) husk.Pod {
	h.t.Helper()
	p, err := h.as(tenant.ID).CreatePod(h.t.Context(), once(), named("pod"), map[string]string{}, nil, spec)
	return must(h.t, p, err)
}

const overhead = 50 // MiB that a virtual machine needs in addition to its guest's memory

// node adds a node with capacity for this many small pods. It has joined and is Ready.
func (h fixture) node(pods int) husk.Node {
	h.t.Helper()
	id, _ := h.joined(named("node"))
	n := husk.Node{ID: id, Capacity: husk.Resources{CPUMillis: pods * small.CPUMillis, MemoryMiB: pods * (small.MemoryMiB + overhead)}, VMMOverheadMiB: overhead}
	h.heartbeat(n)
	return h.getNode(id)
}

func (h fixture) heartbeat(n husk.Node) bool {
	h.t.Helper()
	resync, _, err := h.Heartbeat(h.t.Context(), store.Beat{Node: n})
	return must(h.t, resync, err)
}

func (h fixture) getNode(node store.ID) husk.Node {
	h.t.Helper()
	n, err := h.Node(h.t.Context(), node)
	return must(h.t, n, err)
}

// version returns the node's version, which a placement on the node must name.
func (h fixture) version(node store.ID) int64 {
	h.t.Helper()
	capacities, err := h.NodeCapacities(h.t.Context())
	for _, r := range must(h.t, capacities, err) {
		if r.ID == node {
			return r.Version
		}
	}
	h.t.Fatalf("the scheduler does not see node %s", node)
	return 0
}

// epoch returns the epoch of the current leader, or 0 if there was no leader yet.
func (h fixture) epoch() int64 {
	h.t.Helper()
	return queryOne[int64](h, store.RoleControl, "SELECT epoch FROM leadership")
}

func keyOf(p husk.Pod) store.PodKey { return store.PodKey{TenantID: p.TenantID, ID: p.ID} }

// place places pods on a node and creates their keys. It fails the test unless all of them were
// placed.
func (h fixture) place(node store.ID, pods ...husk.Pod) {
	h.t.Helper()
	var batch []store.Placement
	for _, p := range pods {
		batch = append(batch, store.Placement{Pod: keyOf(p), Node: node, NodeVersion: h.version(node)})
	}
	placed, err := h.CommitPlacements(h.t.Context(), h.epoch(), batch)
	if err != nil || len(placed) != len(pods) {
		h.t.Fatalf("placed %d of %d pods: %v", len(placed), len(pods), err)
	}
	for _, p := range pods {
		if err := h.setKey(keyOf(p), "key of "+p.Name); err != nil {
			h.t.Fatal(err)
		}
	}
}

// setKey gives the pod's placement a key.
func (h fixture) setKey(pod store.PodKey, key string) error {
	_, placement, err := h.PodToKey(h.t.Context(), store.Work{TenantID: pod.TenantID, ObjectID: pod.ID})
	if err != nil {
		return err
	}
	return h.SetPodKeys(h.t.Context(), map[store.PlacementKey]string{{PodKey: pod, Number: placement}: key})
}

// report reports an event of a pod as its node does, with the pod's current generation.
func (h fixture) report(node store.ID, p husk.Pod, e husk.PhaseEvent) {
	h.t.Helper()
	generation := queryOne[int64](h, store.RoleControl, "SELECT coalesce(max(generation), 0) FROM pods WHERE id = $1", p.ID)
	if err := h.Report(h.t.Context(), node, []husk.PodReport{{PodID: p.ID, Generation: generation, Event: e}}); err != nil {
		h.t.Fatal(err)
	}
}

// phase returns the pod's phase, or Gone if it has no row.
func (h fixture) phase(p husk.Pod) husk.Phase {
	h.t.Helper()
	now, err := h.as(p.TenantID).Pod(h.t.Context(), p.ID)
	if husk.CodeOf(err) == husk.CodeNotFound {
		return husk.PhaseGone
	}
	return must(h.t, now, err).Status.Phase
}

func (h fixture) connect(role string) *pgx.Conn {
	h.t.Helper()
	c, err := pgx.Connect(h.t.Context(), h.url(role))
	must(h.t, c, err)
	h.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// queryOne reads a value from the database without the store.
func queryOne[T any](h fixture, role, sql string, args ...any) T {
	h.t.Helper()
	c := h.connect(role)
	var v T
	if err := c.QueryRow(h.t.Context(), sql, args...).Scan(&v); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
	_ = c.Close(h.t.Context())
	return v
}

func wantCode(t testing.TB, err error, code husk.Code) {
	t.Helper()
	if husk.CodeOf(err) != code {
		t.Errorf("the error is %v, want the code %q", err, code)
	}
}

// eventually polls until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if ok() {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tick.Stop()
			t.Fatalf("%s did not happen within %s", what, patience)
		}
		<-tick.C
	}
}
