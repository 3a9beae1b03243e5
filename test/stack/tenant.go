// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/pace"
)

// Tenant is the tenant of one test.
type Tenant struct {
	*Stack
	ID  uuid.UUID
	API *client.Client           // as its owner
	Key openapi.APIKeyWithSecret // the owner's
}

// GenerousQuota is the quota of tenants in tests.
var GenerousQuota = openapi.QuotaChange{
	Pods: new(20), CPUMillis: new(16_000), MemoryMiB: new(8192), Volumes: new(10), VolumeGiB: new(100), Snapshots: new(10), Images: new(10), RequestsPerSecond: new(1000),
}

// NewTenant creates a tenant on the binary's stack. When the test ends, the tenant is deleted with all its objects.
func NewTenant(t testing.TB) *Tenant {
	t.Helper()
	return Get(t).NewTenant(t)
}

// NewTenant creates a tenant. When the test ends, the tenant is deleted with all its objects.
func (s *Stack) NewTenant(t testing.TB) *Tenant {
	t.Helper()
	created, err := s.Operator.Tenants.Create(t.Context(), openapi.TenantCreate{Name: "t-" + uuid.NewString()[:8], Quota: &GenerousQuota})
	if err != nil {
		t.Fatalf("create a tenant: %v", err)
	}
	key, err := s.Operator.Tenants.CreateKey(t.Context(), created.ID, openapi.TenantKeyCreate{Name: "test"})
	if err != nil {
		t.Fatalf("create an API key: %v", err)
	}
	tn := &Tenant{s, created.ID, s.Client(key.ClientID.String(), key.ClientSecret), key}
	t.Cleanup(func() { tn.remove(t) })
	return tn
}

// remove deletes the tenant with all its objects, and then checks that its pods have no domains any
// longer.
func (tn *Tenant) remove(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(2*time.Minute))
	defer cancel()
	owned := map[string]bool{}
	if err := Until(ctx, func() error { return tn.removeOnce(ctx, owned) }); err != nil {
		t.Errorf("remove the tenant: %v", err)
		return
	}
	list := tn.Virsh("list", "--all", "--uuid")
	for pod := range owned {
		if strings.Contains(list, pod) {
			t.Errorf("the domain of pod %s still exists", pod)
		}
	}
}

// removeOnce deletes the objects that can be deleted now and adds the pods to owned. It returns nil
// once the tenant is deleted.
func (tn *Tenant) removeOnce(ctx context.Context, owned map[string]bool) error {
	pods, err := client.Collect(tn.API.Pods.List(ctx, client.Select{}))
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods {
		owned[p.ID.String()] = true
		if p.DeletionRequestedAt == nil {
			err = errors.Join(err, tn.API.Pods.Delete(ctx, p.ID))
		}
	}
	if n := len(pods); n > 0 {
		return errors.Join(err, fmt.Errorf("%d pods still exist: %+v", n, pods))
	}
	volumes, err1 := client.Collect(tn.API.Volumes.List(ctx, client.Select{}))
	images, err2 := client.Collect(tn.API.Images.List(ctx))
	configs, err3 := client.Collect(tn.API.Configs.List(ctx, openapi.ConfigKindConfig, client.Select{}))
	secrets, err4 := client.Collect(tn.API.Configs.List(ctx, openapi.ConfigKindSecret, client.Select{}))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	for _, c := range append(configs, secrets...) {
		err = errors.Join(err, tn.API.Configs.Delete(ctx, c.ID))
	}
	services, err6 := client.Collect(tn.API.Services.List(ctx, client.Select{}))
	if err6 != nil {
		return err6
	}
	for _, s := range services {
		err = errors.Join(err, tn.API.Services.Delete(ctx, s.ID))
	}
	addresses, err7 := client.Collect(tn.API.Addresses.List(ctx, client.Select{}))
	groups, err8 := client.Collect(tn.API.SecurityGroups.List(ctx, client.Select{}))
	ingresses, err9 := client.Collect(tn.API.Ingresses.List(ctx, client.Select{}))
	if err := errors.Join(err7, err8, err9); err != nil {
		return err
	}
	for _, a := range addresses {
		err = errors.Join(err, tn.API.Addresses.Delete(ctx, a.ID))
	}
	for _, g := range groups { // one that rules of another name goes in the next round
		err = errors.Join(err, tn.API.SecurityGroups.Delete(ctx, g.ID))
	}
	for _, i := range ingresses {
		err = errors.Join(err, tn.API.Ingresses.Delete(ctx, i.ID))
	}
	for _, v := range volumes {
		err = errors.Join(err, tn.API.Volumes.Delete(ctx, v.ID))
	}
	for _, i := range images {
		err = errors.Join(err, tn.API.Images.Delete(ctx, i.ID))
	}
	snapshots, err5 := client.Collect(tn.API.Snapshots.List(ctx, client.Select{}))
	if err5 != nil {
		return err5
	}
	for _, s := range snapshots { // volumes may still share their data
		err = errors.Join(err, tn.API.Snapshots.Delete(ctx, s.ID))
	}
	if n := len(volumes) + len(images) + len(snapshots); n > 0 {
		return errors.Join(err, fmt.Errorf("%d volumes, images and snapshots still exist: %+v %+v %+v", n, volumes, images, snapshots))
	}
	_, err = client.Decode[any](tn.Operator.API().DeleteTenant(ctx, tn.ID, nil)) //nolint:bodyclose // Decode closes it
	return err
}

// SetQuota changes the tenant's quota, as an operator.
func (tn *Tenant) SetQuota(t testing.TB, quota openapi.QuotaChange) {
	t.Helper()
	_, err := client.Decode[openapi.Tenant](tn.Operator.API().UpdateTenant(t.Context(), tn.ID, nil, openapi.TenantUpdate{Quota: quota})) //nolint:bodyclose // Decode closes it
	if err != nil {
		t.Fatalf("change the quota: %v", err)
	}
}

// KeyOf creates a service account with this role, and an API key for it.
func (tn *Tenant) KeyOf(t testing.TB, role openapi.Role, key openapi.APIKeyCreate) (openapi.ServiceAccount, openapi.APIKeyWithSecret) {
	t.Helper()
	account, err := tn.API.ServiceAccounts.Create(t.Context(), openapi.ServiceAccountCreate{Name: "sa-" + uuid.NewString()[:8], Role: role})
	if err != nil {
		t.Fatalf("create a service account: %v", err)
	}
	created, err := tn.API.ServiceAccounts.CreateKey(t.Context(), account.ID, key)
	if err != nil {
		t.Fatalf("create a key: %v", err)
	}
	return account, created
}

// ImportImage imports one of the test images and returns its reference once it is ready.
func (tn *Tenant) ImportImage(t testing.TB, name string) string {
	t.Helper()
	ref := tn.Refs[name]
	created, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: ref})
	if err != nil {
		t.Fatalf("import %s: %v", ref, err)
	}
	tn.WaitForImage(t, created.ID)
	return ref
}

// WaitForImage waits until an image is Ready.
func (tn *Tenant) WaitForImage(t testing.TB, id uuid.UUID) {
	t.Helper()
	Eventually(t, time.Minute, func() error {
		got, err := tn.API.Images.Get(t.Context(), id)
		if err == nil && got.State != openapi.ImageStateReady {
			err = fmt.Errorf("image %s: %+v", id, got)
		}
		return err
	})
}

// Volume creates a volume of 1 GiB.
func (tn *Tenant) Volume(t testing.TB, name string) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: name, SizeGiB: 1})
	if err != nil {
		t.Fatalf("create volume %s: %v", name, err)
	}
	return openapi.PodVolume{Name: name, VolumeID: &v.ID}
}
