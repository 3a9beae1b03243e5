// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// concurrently runs f n times at the same time and returns the errors.
func concurrently(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// codes counts errors by code; "" counts successes.
func codes(errs []error) map[husk.Code]int {
	n := map[husk.Code]int{}
	for _, err := range errs {
		n[husk.CodeOf(err)]++
	}
	return n
}

func TestAnInvalidPodIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, other := h.tenant(), h.tenant()
	image, foreignImage := h.image(tenant), h.image(other)
	free, used, foreign := h.volume(tenant), h.volume(tenant), h.volume(other)
	leaving := h.volume(tenant)
	v, err := h.as(tenant.ID).DeleteVolume(t.Context(), leaving.ID)
	must(t, v, err)
	first := h.createPod(tenant, specOf(image, used))
	unknown := free
	unknown.ID = uuid.New()
	unmade := image
	unmade.Reference = "registry.example.com/nowhere:1"
	byForeignID := image
	byForeignID.Reference = foreignImage.ID.String()

	for name, c := range map[string]struct {
		name  string
		spec  husk.PodSpec
		code  husk.Code
		field string
	}{
		"with a name that is taken":                   {first.Name, specOf(image), husk.CodeNameTaken, "name"},
		"with an image that was not imported":         {"a", specOf(unmade), husk.CodeImageNotFound, "spec.containers[0].image"},
		"with another tenant's image":                 {"a", specOf(foreignImage), husk.CodeImageNotFound, "spec.containers[0].image"},
		"with the id of another tenant's image":       {"a", specOf(byForeignID), husk.CodeImageNotFound, "spec.containers[0].image"},
		"with a volume that another pod has":          {"a", specOf(image, free, used), husk.CodeVolumeInUse, "spec.volumes[1].volumeId"},
		"with another tenant's volume, as if unknown": {"a", specOf(image, foreign), husk.CodeNotFound, "spec.volumes[0].volumeId"},
		"with an unknown volume":                      {"a", specOf(image, unknown), husk.CodeNotFound, "spec.volumes[0].volumeId"},
		"with a volume that is being deleted":         {"a", specOf(image, leaving), husk.CodeConflict, "spec.volumes[0].volumeId"},
		"with an unknown volume after a free one":     {"a", specOf(image, free, unknown), husk.CodeNotFound, "spec.volumes[1].volumeId"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), c.name, map[string]string{}, nil, c.spec)
			e, ok := errors.AsType[*husk.Error](err)
			if !ok || e.Code != c.code || e.Field != c.field {
				t.Errorf("the error is %v, want %s about %s", err, c.code, c.field)
			}
		})
	}
	pods, _, err := h.as(tenant.ID).Pods(t.Context(), store.Page{Limit: 10}, store.Filter{})
	if must(t, pods, err); len(pods) != 1 {
		t.Errorf("refused requests created %d pods", len(pods)-1)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM volume_claims"); n != 1 {
		t.Errorf("refused requests created %d claims", n-1)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM events WHERE kind = 'pod'"); n != 1 {
		t.Errorf("refused requests wrote %d events", n-1)
	}
}

func TestAPodCanNameItsImageByID(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	image.Reference = image.ID.String()
	h.createPod(tenant, specOf(image))
}

func TestAQuotaIsEnforced(t *testing.T) {
	t.Parallel()
	h := open(t)
	generous := husk.Quota{ScratchGiB: 100, Pods: 10, CPUMillis: 10_000, MemoryMiB: 10_000, Volumes: 10, VolumeGiB: 10, Addresses: 10, Images: 10}
	for name, c := range map[string]struct {
		limit func(q *husk.Quota)
		field string
		fits  int
	}{
		"of no pods":            {func(q *husk.Quota) { q.Pods = 0 }, "", 0},
		"of two pods":           {func(q *husk.Quota) { q.Pods = 2 }, "", 2},
		"of no cpu":             {func(q *husk.Quota) { q.CPUMillis = 0 }, "spec.resources.cpuMillis", 0},
		"of exactly enough cpu": {func(q *husk.Quota) { q.CPUMillis = 3 * small.CPUMillis }, "spec.resources.cpuMillis", 3},
		"of a little less cpu":  {func(q *husk.Quota) { q.CPUMillis = 3*small.CPUMillis - 1 }, "spec.resources.cpuMillis", 2},
		"of no memory":          {func(q *husk.Quota) { q.MemoryMiB = 0 }, "spec.resources.memoryMiB", 0},
		"of two scratch disks":  {func(q *husk.Quota) { q.ScratchGiB = 3*husk.DefaultScratchGiB - 1 }, "spec.ephemeralStorageGiB", 2},
		"of exactly the memory": {func(q *husk.Quota) { q.MemoryMiB = 2 * small.MemoryMiB }, "spec.resources.memoryMiB", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := fixtureOf(t, h.db, h.url)
			quota := generous
			c.limit(&quota)
			tenant := h.tenantWith(quota)
			image := h.image(tenant)
			for range c.fits {
				h.createPod(tenant, specOf(image))
			}
			_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(image))
			if e, ok := errors.AsType[*husk.Error](err); !ok || e.Code != husk.CodeQuotaExceeded || e.Field != c.field {
				t.Errorf("pod %d: %v", c.fits+1, err)
			}
		})
	}
	t.Run("of volumes and images", func(t *testing.T) {
		t.Parallel()
		h := fixtureOf(t, h.db, h.url)
		quota := generous
		quota.Volumes, quota.VolumeGiB, quota.Images = 2, 5, 1
		tenant := h.tenantWith(quota)
		make := func(gib int) error {
			_, err := h.as(tenant.ID).CreateVolume(t.Context(), once(), named("volume"), map[string]string{}, gib)
			return err
		}
		wantCode(t, make(6), husk.CodeQuotaExceeded)
		wantCode(t, make(4), "")
		wantCode(t, make(2), husk.CodeQuotaExceeded)
		wantCode(t, make(1), "")
		wantCode(t, make(1), husk.CodeQuotaExceeded)
		h.image(tenant)
		_, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/second:1", "sha256:1", husk.ImageConfig{}, nil)
		wantCode(t, err, husk.CodeQuotaExceeded)
	})
}

func TestFiftySimultaneousRequestsFillAQuotaOfFiveExactly(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.CPUMillis = 5 * small.CPUMillis
	tenant := h.tenantWith(quota)
	spec := specOf(h.image(tenant))
	errs := concurrently(50, func(i int) error {
		_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), fmt.Sprintf("p%d", i), map[string]string{}, nil, spec)
		return err
	})
	want := map[husk.Code]int{"": 5, husk.CodeQuotaExceeded: 45}
	if diff := cmp.Diff(want, codes(errs)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	distinct := queryOne[int](h, store.RoleControl, "SELECT count(DISTINCT (network_id, address, mac)) FROM pods")
	if distinct != 5 {
		t.Errorf("5 pods have %d addresses", distinct)
	}
}

func TestOnlyOneOfManyPodsGetsAVolume(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	spec := specOf(h.image(tenant), h.volume(tenant))
	errs := concurrently(20, func(i int) error {
		_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), fmt.Sprintf("p%d", i), map[string]string{}, nil, spec)
		return err
	})
	if diff := cmp.Diff(map[husk.Code]int{"": 1, husk.CodeVolumeInUse: 19}, codes(errs)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestAddressesAreDistinctAndReusedLast(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	spec := specOf(h.image(tenant))
	pods := make([]husk.Pod, 12)
	for _, err := range concurrently(len(pods), func(i int) (err error) {
		pods[i], err = h.as(tenant.ID).CreatePod(t.Context(), once(), fmt.Sprintf("p%d", i), map[string]string{}, nil, spec)
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]husk.Pod{}
	for _, p := range pods {
		if q, twice := seen[p.Status.Address]; twice {
			t.Errorf("%s and %s have the address %s", p.Name, q.Name, p.Status.Address)
		}
		seen[p.Status.Address] = p
	}
	prefix := strings.TrimSuffix(tenant.NetworkCIDR, "0/24")
	for i := range pods {
		if _, ok := seen[fmt.Sprintf("%s%d", prefix, i+2)]; !ok {
			t.Errorf("the address %s%d was skipped", prefix, i+2)
		}
	}
	for _, taken := range []string{prefix + "0", prefix + "1"} {
		if _, ok := seen[taken]; ok {
			t.Errorf("the network's or the gateway's address %s was given to a pod", taken)
		}
	}
	p, err := h.as(tenant.ID).DeletePod(t.Context(), seen[prefix+"5"].ID)
	must(t, p, err)
	if next := h.createPod(tenant, spec); next.Status.Address != prefix+"14" {
		t.Errorf("the next pod has %s; a freed address must be reused last", next.Status.Address)
	}
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), `INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac)
		SELECT tenant_id, gen_random_uuid(), 'filler-' || o, '{}', spec, 0, 0, network_id, set_masklen(network(address)::inet, 32) + (o - 14), mac
		FROM pods, generate_series(15, 254) o WHERE tenant_id = $1 AND address = $2`, tenant.ID, prefix+"14"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SetQuota(t.Context(), tenant.ID, func(q husk.Quota) husk.Quota { q.Pods, q.Addresses = 300, 300; return q }); err != nil {
		t.Fatal(err)
	}
	if again := h.createPod(tenant, spec); again.Status.Address != prefix+"5" {
		t.Errorf("the freed address was not reused; got %s", again.Status.Address)
	}
}

func TestAFullNetworkAcceptsNoPod(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Pods, quota.CPUMillis = 1000, 1000*small.CPUMillis
	tenant := h.tenantWith(quota)
	image := h.image(tenant)
	h.createPod(tenant, specOf(image))
	// Insert rows with SQL, because the store would take seconds to fill a network.
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), `INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac)
		SELECT tenant_id, gen_random_uuid(), 'filler-' || o, '{}', spec, 0, 0, network_id, set_masklen(network(address)::inet, 32) + (o - 2), mac
		FROM pods, generate_series(3, 254) o`); err != nil {
		t.Fatal(err)
	}
	_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), "one-more", map[string]string{}, nil, specOf(image))
	wantCode(t, err, husk.CodeQuotaExceeded)
}

func TestARepeatedRequestReturnsTheSamePod(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, other := h.tenant(), h.tenant()
	spec := specOf(h.image(tenant))
	idem := store.NewIdempotency("key-1", "CreatePod", "/v1/test", []byte(`{"a":1}`))
	create := func(tenant husk.Tenant, idem store.Idempotency, spec husk.PodSpec) (husk.Pod, error) {
		return h.as(tenant.ID).CreatePod(t.Context(), idem, "web", map[string]string{"a": "b"}, nil, spec)
	}
	first, err := create(tenant, idem, spec)
	must(t, first, err)
	second, err := create(tenant, idem, spec)
	must(t, second, err)
	if diff := cmp.Diff(first, second, cmpopts.EquateApproxTime(0), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the repetition differs (-first +second):\n%s", diff)
	}
	_, err = create(tenant, store.NewIdempotency("key-1", "CreatePod", "/v1/test", []byte(`{"a":2}`)), spec)
	wantCode(t, err, husk.CodeIdempotencyMismatch)
	_, err = create(tenant, store.NewIdempotency("key-1", "CreateVolume", "/v1/test", []byte(`{"a":1}`)), spec)
	wantCode(t, err, husk.CodeIdempotencyMismatch)
	_, err = create(tenant, store.NewIdempotency("key-2", "CreatePod", "/v1/test", []byte(`{"a":1}`)), spec)
	wantCode(t, err, husk.CodeNameTaken)
	// The same key of another tenant is a different key.
	third, err := create(other, idem, specOf(h.image(other)))
	if must(t, third, err); third.ID == first.ID {
		t.Error("two tenants share an idempotency key")
	}
	// The key is stored longer than the pod: a late repetition does not create the pod again.
	gone, err := h.as(tenant.ID).DeletePod(t.Context(), first.ID)
	must(t, gone, err)
	_, err = create(tenant, idem, spec)
	wantCode(t, err, husk.CodeNotFound)
	if pods, _, err := h.as(tenant.ID).Pods(t.Context(), store.Page{Limit: 10}, store.Filter{}); err != nil || len(pods) != 0 {
		t.Errorf("after a repeated request for a deleted pod, the tenant has %d pods: %v", len(pods), err)
	}
}

// TestARepeatedRequestReturnsTheObjectAsItIsNow changes each object between the two requests.
func TestARepeatedRequestReturnsTheObjectAsItIsNow(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	owner := h.as(tenant.ID)
	idem := store.NewIdempotency("key", "CreateVolume", "/v1/volumes", nil)
	first, err := owner.CreateVolume(t.Context(), idem, "data", map[string]string{}, 1)
	must(t, first, err)
	if err := h.VolumeMade(t.Context(), first, "def", nil); err != nil {
		t.Fatal(err)
	}
	second, err := owner.CreateVolume(t.Context(), idem, "data", map[string]string{}, 1)
	if must(t, second, err); second.ID != first.ID || second.State != husk.VolumeAvailable {
		t.Errorf("a repeated request returns the volume %s in the state %s", second.ID, second.State)
	}
	idem = store.NewIdempotency("account", "CreateServiceAccount", "/v1/service-accounts", nil)
	account, err := owner.CreateServiceAccount(t.Context(), idem, "ci", husk.RoleViewer)
	must(t, account, err)
	changed, err := owner.SetServiceAccountRole(t.Context(), account.ID, husk.RoleDeveloper)
	must(t, changed, err)
	account, err = owner.CreateServiceAccount(t.Context(), idem, "ci", husk.RoleViewer)
	if must(t, account, err); account.Role != husk.RoleDeveloper {
		t.Errorf("a repeated request returns the role %s", account.Role)
	}
}

// TestAnIdempotencyKeyIsSmall creates the largest pod. A tenant can create and delete many of them in the time for which keys are kept.
func TestAnIdempotencyKeyIsSmall(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	spec := specOf(h.image(tenant))
	content := make([]byte, 300<<10)
	_, _ = rand.Read(content)
	spec.Containers[0].Files = []husk.File{{Path: "/data", ContentBase64: base64.StdEncoding.EncodeToString(content)}}
	idem := store.NewIdempotency(strings.Repeat("k", 255), "CreatePod", "/v1/pods", nil)
	pod, err := h.as(tenant.ID).CreatePod(t.Context(), idem, "web", map[string]string{}, nil, spec)
	must(t, pod, err)
	if size := queryOne[int](h, store.RoleControl, "SELECT pg_column_size(k) FROM idempotency_keys k WHERE object_id = $1", pod.ID); size > 500 {
		t.Errorf("a key takes %d bytes", size)
	}
}

func TestARefusedRequestDoesNotUseItsKey(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Pods = 0
	tenant := h.tenantWith(quota)
	spec := specOf(h.image(tenant))
	idem := store.NewIdempotency("key", "CreatePod", "/v1/test", nil)
	_, err := h.as(tenant.ID).CreatePod(t.Context(), idem, "web", map[string]string{}, nil, spec)
	wantCode(t, err, husk.CodeQuotaExceeded)
	quota.Pods = 1
	changed, err := h.SetQuota(t.Context(), tenant.ID, func(husk.Quota) husk.Quota { return quota })
	must(t, changed, err)
	_, err = h.as(tenant.ID).CreatePod(t.Context(), idem, "web", map[string]string{}, nil, spec)
	wantCode(t, err, "")
}

func TestSimultaneousRequestsWithOneKeyCreateOneObject(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	spec := specOf(h.image(tenant))
	idem := store.NewIdempotency("key", "CreatePod", "/v1/test", nil)
	ids := make([]store.ID, 30)
	for _, err := range concurrently(len(ids), func(i int) error {
		p, err := h.as(tenant.ID).CreatePod(t.Context(), idem, "web", map[string]string{}, nil, spec)
		ids[i] = p.ID
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("simultaneous requests created %s and %s", ids[0], id)
		}
	}
	tenants := make([]store.ID, 10)
	for _, err := range concurrently(len(tenants), func(i int) error {
		made, err := h.CreateTenant(t.Context(), idem, "the-tenant", husk.DefaultQuota)
		tenants[i] = made.ID
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, id := range tenants {
		if id != tenants[0] {
			t.Errorf("simultaneous requests created the tenants %s and %s", tenants[0], id)
		}
	}
}

func TestOldIdempotencyKeysAreDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	create := func(key string, age string) store.ID {
		volume, err := h.as(tenant.ID).CreateVolume(t.Context(), store.NewIdempotency(key, "CreateVolume", "/v1/volumes", nil), named("volume"), map[string]string{}, 1)
		must(t, volume, err)
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), "UPDATE idempotency_keys SET created_at = now() - $1::interval WHERE object_id = $2", age, volume.ID); err != nil {
			t.Fatal(err)
		}
		return volume.ID
	}
	kept := map[store.ID]bool{
		create("old", "25 hours"): false, create("", "11 minutes"): false, // the server made the second key
		create("new", "23 hours"): true, create("", "9 minutes"): true, create("server:mine", "11 minutes"): true,
	}
	n, err := h.ForgetIdempotencyKeys(t.Context())
	if must(t, n, err); n != 2 {
		t.Errorf("deleted %d keys, want 2", n)
	}
	for volume, want := range kept {
		if got := queryOne[bool](h, store.RoleControl, "SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE object_id = $1)", volume); got != want {
			t.Errorf("a key is kept: %t, want %t", got, want)
		}
	}
}

func TestAListIsCompleteWhileRowsAreAddedAndDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	var all []store.ID
	for range 7 {
		all = append(all, h.createPod(tenant, specOf(image)).ID)
	}
	var got []store.ID
	page := store.Page{Limit: 2}
	for n := 0; ; n++ {
		pods, next, err := h.as(tenant.ID).Pods(t.Context(), page, store.Filter{})
		for _, p := range must(t, pods, err) {
			got = append(got, p.ID)
		}
		if n == 0 {
			// Delete an object of an earlier page and create a new one. The next pages do not
			// shift.
			gone, err := h.as(tenant.ID).DeletePod(t.Context(), all[0])
			must(t, gone, err)
			all = append(all, h.createPod(tenant, specOf(image)).ID)
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	for _, cursor := range []string{"x", "!", "MjAyNg", strings.Repeat("A", 200)} {
		_, _, err := h.as(tenant.ID).Pods(t.Context(), store.Page{Limit: 2, Cursor: cursor}, store.Filter{})
		wantCode(t, err, husk.CodeInvalid)
	}
}

func TestTextThatPostgresCannotStoreIsAnInvalidRequest(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), "a", map[string]string{"a": "\x00"}, nil, specOf(image))
	wantCode(t, err, husk.CodeInvalid)
	image.Reference = "a\x00b"
	_, err = h.as(tenant.ID).CreatePod(t.Context(), once(), "b", map[string]string{}, nil, specOf(image))
	wantCode(t, err, husk.CodeInvalid)
	bad := "\xff"
	_, _, err = h.as(tenant.ID).Images(t.Context(), store.Page{Limit: 1}, &bad)
	wantCode(t, err, husk.CodeInvalid)
}

func TestATenantIsDeletedOnlyWhenItOwnsNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	key, err := h.CreateTenantKey(t.Context(), tenant.ID, once(), "owner", store.KeyRequest{Name: "key"})
	must(t, key, err)
	v := h.volume(tenant)
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeConflict)
	v, err = h.as(tenant.ID).DeleteVolume(t.Context(), v.ID)
	must(t, v, err)
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeConflict)
	v.TenantID = tenant.ID
	if err := h.VolumeRemoved(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), "")
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeNotFound)
	_, err = h.Authenticate(t.Context(), key.ClientID, key.Secret)
	wantCode(t, err, husk.CodeUnauthenticated)
	_, err = h.as(tenant.ID).CreateVolume(t.Context(), once(), "v", map[string]string{}, 1)
	wantCode(t, err, husk.CodeUnauthenticated)
	if again := h.tenant(); again.NetworkCIDR != tenant.NetworkCIDR {
		t.Errorf("the freed network %s was not reused; got %s", tenant.NetworkCIDR, again.NetworkCIDR)
	}
}

func TestNetworksOfTenantsDoNotOverlapAndRunOut(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, err := range concurrently(8, func(i int) error {
		_, err := h.CreateTenant(t.Context(), once(), fmt.Sprintf("t%d", i), husk.DefaultQuota)
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM networks a JOIN networks b ON a.cidr && b.cidr AND a.id <> b.id"); n != 0 {
		t.Errorf("%d networks overlap", n)
	}
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), `WITH t AS (INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images,
		quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		SELECT gen_random_uuid(), 'filler-' || o, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(8, 255) o RETURNING id, name)
		INSERT INTO networks (tenant_id, id, ordinal, cidr) SELECT id, gen_random_uuid(), substr(name, 8)::int, ('10.64.' || substr(name, 8) || '.0/24')::cidr FROM t`); err != nil {
		t.Fatal(err)
	}
	_, err := h.CreateTenant(t.Context(), once(), "no-room", husk.DefaultQuota)
	wantCode(t, err, husk.CodeUnavailable)
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM tenants WHERE name = 'no-room'"); n != 0 {
		t.Error("the refused request created a tenant without a network")
	}
}

func TestAnImageIsImportedOnceAndAgainAfterItFailed(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	auth := &store.RegistryAuth{Username: "someone", Password: "something"}
	create := func() (husk.Image, error) {
		return h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:1", husk.ImageConfig{}, auth)
	}
	first, err := create()
	must(t, first, err)
	work := h.claim(store.ImageImport, 10)
	if len(work) != 1 {
		t.Fatalf("the work is %+v", work)
	}
	if image, login, err := h.ImageToImport(t.Context(), work[0]); err != nil || image.ID != first.ID || login == nil || *login != *auth {
		t.Errorf("the image to import is %+v with the credentials %+v: %v", image, login, err)
	}
	second, err := create()
	if must(t, second, err); second.ID != first.ID {
		t.Error("the same reference and digest created another image")
	}
	if err := h.ImageTrouble(t.Context(), first, "no", true); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.as(tenant.ID).Image(t.Context(), first.ID); got.State != husk.ImageFailed || got.Message != "no" {
		t.Errorf("the image is %+v", got)
	}
	third, err := create()
	if must(t, third, err); third.ID != first.ID || third.State != husk.ImageImporting || third.Message != "" {
		t.Errorf("the repeated import is %+v", third)
	}
	gone, err := h.as(tenant.ID).DeleteImage(t.Context(), first.ID)
	must(t, gone, err)
	wantCode(t, h.ImageMade(t.Context(), first, 1, false, "x", nil), husk.CodeNotFound) // an import that ends after the image was deleted
	if got, _ := h.as(tenant.ID).Image(t.Context(), first.ID); got.State != husk.ImageDeleting {
		t.Errorf("a late import restored the image: %+v", got)
	}
	_, err = create()
	wantCode(t, err, husk.CodeConflict)
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM images WHERE registry_auth IS NOT NULL"); n != 0 {
		t.Error("registry credentials are still stored after the import")
	}
}

func TestAnImageInUseIsNotDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	pod := h.createPod(tenant, specOf(image))
	_, err := h.as(tenant.ID).DeleteImage(t.Context(), image.ID)
	wantCode(t, err, husk.CodeImageInUse)
	gone, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
	must(t, gone, err)
	_, err = h.as(tenant.ID).DeleteImage(t.Context(), image.ID)
	wantCode(t, err, "")
}

// If a pod is created while its volume or image is deleted, only one of the two requests succeeds.
func TestACreationAndADeletionOfItsDependencyDoNotBothSucceed(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	for range 10 {
		image, volume := h.image(tenant), h.volume(tenant)
		errs := concurrently(3, func(i int) error {
			var err error
			switch i {
			case 0:
				_, err = h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(image, volume))
			case 1:
				_, err = h.as(tenant.ID).DeleteVolume(t.Context(), volume.ID)
			case 2:
				_, err = h.as(tenant.ID).DeleteImage(t.Context(), image.ID)
			}
			return err
		})
		if errs[0] == nil && (errs[1] == nil || errs[2] == nil) {
			t.Errorf("the pod was accepted, but its volume or image was deleted: %v", errs)
		}
		for _, err := range errs {
			if husk.CodeOf(err) == husk.CodeInternal {
				t.Error(err)
			}
		}
	}
}

// The configuration of an image is known when its import begins, so a pod that could never start is refused at once.
func TestAPodThatCanNeverStartIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	for field, config := range map[string]husk.ImageConfig{
		"spec.containers[0].command": {}, "spec.containers[0].stopSignal": {Cmd: []string{"x"}, StopSignal: "SIGWHATEVER"}, "spec.containers[0].user": {Cmd: []string{"x"}, User: "a\nb"},
	} {
		image, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/"+named("image")+":1", "sha256:"+named("digest"), config, nil)
		must(t, image, err)
		_, err = h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(image))
		if e, ok := errors.AsType[*husk.Error](err); !ok || e.Code != husk.CodeInvalid || e.Field != field {
			t.Errorf("the error is %v, want one about %s", err, field)
		}
	}
}

// What happens to containers between two reports is recorded as events of the pod.
func TestWhatHappensToContainersIsRecorded(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	node := h.node(1)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	one, began := 1, time.Now()
	next := began.Add(4 * time.Second)
	running := husk.ContainerStatus{Name: "main", State: husk.ContainerRunning, StartedAt: &began}
	ended := husk.ContainerStatus{Name: "main", State: husk.ContainerWaiting, Reason: "BackOff", LastReason: "Error", ExitCode: &one, StartedAt: &began, FinishedAt: &began, NextStartAt: &next}
	for _, c := range []husk.ContainerStatus{running, running, ended, ended} {
		if err := h.Report(t.Context(), node.ID, []husk.PodReport{{PodID: pod.ID, Generation: 1, Event: husk.EventRunning, Containers: []husk.ContainerStatus{c}}}); err != nil {
			t.Fatal(err)
		}
	}
	events, _, err := h.as(tenant.ID).Events(t.Context(), store.Page{Limit: 100}, store.EventFilter{})
	must(t, events, err)
	var got []string
	for _, e := range events {
		if strings.HasPrefix(e.Reason, "Container") {
			got = append(got, e.Reason+": "+e.Message)
		}
	}
	want := []string{"ContainerStarted: container main was started", "ContainerExited: container main ended with exit code 1", "ContainerBackOff: container main starts again in 4s"}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
