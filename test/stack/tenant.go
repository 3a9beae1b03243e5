package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/test/pace"
)

// Tenant is the tenant of one test.
type Tenant struct {
	*Stack
	ID  uuid.UUID
	API *openapi.ClientWithResponses // as its owner
	Key *openapi.APIKeyWithSecret    // the owner's
}

// GenerousQuota is what tenants of tests may use.
var GenerousQuota = openapi.QuotaChange{
	Pods: new(20), CPUMillis: new(16_000), MemoryMiB: new(8192), Volumes: new(10), VolumeGiB: new(100), Images: new(10), RequestsPerSecond: new(1000),
}

// NewTenant creates a tenant. When the test ends, it is deleted with everything that it owns.
func NewTenant(t testing.TB) *Tenant {
	t.Helper()
	s := Get(t)
	created, err := s.Operator.CreateTenantWithResponse(t.Context(), nil, openapi.TenantCreate{Name: "t-" + uuid.NewString()[:8], Quota: &GenerousQuota})
	if err == nil && created.JSON201 == nil {
		err = answerError(created.HTTPResponse, created.Body)
	}
	if err != nil {
		t.Fatalf("create a tenant: %v", err)
	}
	id := created.JSON201.ID
	key, err := s.Operator.CreateAPIKeyWithResponse(t.Context(), id, nil, openapi.TenantKeyCreate{Name: "test"})
	if err == nil && key.JSON201 == nil {
		err = answerError(key.HTTPResponse, key.Body)
	}
	if err != nil {
		t.Fatalf("create an API key: %v", err)
	}
	tn := &Tenant{s, id, s.Client(key.JSON201.ClientID.String(), key.JSON201.ClientSecret), key.JSON201}
	t.Cleanup(func() { tn.remove(t) })
	return tn
}

// remove deletes all that the tenant owns, and the tenant; then nothing of it may be left anywhere.
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
			t.Errorf("the domain of pod %s is left", pod)
		}
	}
}

// removeOnce deletes what can be deleted now, notes the pods, and succeeds once the tenant is gone.
func (tn *Tenant) removeOnce(ctx context.Context, owned map[string]bool) error {
	pods, err := tn.API.ListPodsWithResponse(ctx, nil)
	if err != nil || pods.JSON200 == nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.JSON200.Items {
		owned[p.ID.String()] = true
		if p.DeletionRequestedAt == nil {
			_, err = tn.API.DeletePodWithResponse(ctx, p.ID, nil)
		}
	}
	if n := len(pods.JSON200.Items); n > 0 {
		return errors.Join(err, fmt.Errorf("%d pods are left: %s", n, pods.Body))
	}
	volumes, err1 := tn.API.ListVolumesWithResponse(ctx, nil)
	images, err2 := tn.API.ListImagesWithResponse(ctx, nil)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, v := range volumes.JSON200.Items {
		_, err = tn.API.DeleteVolumeWithResponse(ctx, v.ID, nil)
	}
	for _, i := range images.JSON200.Items {
		_, err = tn.API.DeleteImageWithResponse(ctx, i.ID, nil)
	}
	if n := len(volumes.JSON200.Items) + len(images.JSON200.Items); n > 0 {
		return errors.Join(err, fmt.Errorf("%d volumes and images are left: %s %s", n, volumes.Body, images.Body))
	}
	resp, err := tn.Operator.DeleteTenantWithResponse(ctx, tn.ID, nil)
	if err == nil && resp.StatusCode() != http.StatusNoContent {
		err = errors.New(resp.Status())
	}
	return err
}

// ImportImage imports one of the test images and returns its reference once it is ready.
func (tn *Tenant) ImportImage(t testing.TB, name string) string {
	t.Helper()
	ref := tn.Refs[name]
	created, err := tn.API.ImportImageWithResponse(t.Context(), nil, openapi.ImageImport{Reference: ref})
	if err == nil && created.JSON201 == nil {
		err = answerError(created.HTTPResponse, created.Body)
	}
	if err != nil {
		t.Fatalf("import %s: %v", ref, err)
	}
	tn.WaitForImage(t, created.JSON201.ID)
	return ref
}

// WaitForImage waits until an import is done.
func (tn *Tenant) WaitForImage(t testing.TB, id uuid.UUID) {
	t.Helper()
	Eventually(t, time.Minute, func() error {
		got, err := tn.API.GetImageWithResponse(t.Context(), id)
		if err != nil {
			return err
		}
		if got.JSON200 == nil || got.JSON200.State != openapi.ImageStateReady {
			return fmt.Errorf("image %s: %s", id, got.Body)
		}
		return nil
	})
}

// Volume creates a volume of 1 GiB.
func (tn *Tenant) Volume(t testing.TB, name string) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.CreateVolumeWithResponse(t.Context(), nil, openapi.VolumeCreate{Name: name, SizeGiB: 1})
	if err == nil && v.JSON201 == nil {
		err = answerError(v.HTTPResponse, v.Body)
	}
	if err != nil {
		t.Fatalf("create volume %s: %v", name, err)
	}
	return openapi.PodVolume{Name: name, VolumeID: v.JSON201.ID}
}
