// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// The response to bad input is a clear problem, and no object is created. (The removal of the
// tenant checks that.)
func TestBadInputIsAClearProblem(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	holder := tn.Create(t, "holder", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
	})
	pod := func(change func(*openapi.PodCreate)) openapi.PodCreate {
		p := openapi.PodCreate{Name: "p-" + uuid.NewString()[:8], Spec: openapi.PodSpec{
			Resources: openapi.Resources{CPUMillis: 500, MemoryMiB: 128}, Containers: []openapi.Container{{Name: "main", Image: busybox}},
		}}
		change(&p)
		return p
	}
	for _, c := range []struct {
		what, path string
		body       any
		status     int
		code       string
		field      string
	}{
		{
			"unknown image in a pod", "/v1/pods", pod(func(p *openapi.PodCreate) { p.Spec.Containers[0].Image = "127.0.0.1:1/nothing:1" }),
			http.StatusUnprocessableEntity, "image_not_found", "spec.containers[0].image",
		},
		{
			"unknown image in the registry", "/v1/images",
			openapi.ImageImport{Reference: tn.Env["HUSK_REGISTRY"] + "/nothing:1"},
			http.StatusUnprocessableEntity, "image_not_found", "reference",
		},
		{
			"an invalid image reference", "/v1/images",
			openapi.ImageImport{Reference: "UPPER CASE"},
			http.StatusUnprocessableEntity, "invalid", "reference",
		},
		{
			"a registry that does not respond", "/v1/images",
			openapi.ImageImport{Reference: "127.0.0.1:1/nothing:1"},
			http.StatusBadGateway, "registry_unreachable", "reference",
		},
		{
			"a registry that wants a login", "/v1/images",
			openapi.ImageImport{Reference: privateRegistry(t) + "/busybox:latest"},
			http.StatusUnprocessableEntity, "registry_unauthorized", "reference",
		},
		{
			"an unknown field", "/v1/volumes",
			map[string]any{"name": "v", "sizeGiB": 1, "colour": "red"},
			http.StatusUnprocessableEntity, "unknown_field", "colour",
		},
		{
			"a name with XML in it", "/v1/pods", pod(func(p *openapi.PodCreate) { p.Name = "</name><cmd/>" }),
			http.StatusUnprocessableEntity, "invalid", "name",
		},
		{
			"a volume in use", "/v1/pods", pod(func(p *openapi.PodCreate) { p.Spec.Volumes = &[]openapi.PodVolume{data} }),
			http.StatusConflict, "volume_in_use", "spec.volumes[0].volumeId",
		},
		{
			"a volume that does not exist", "/v1/pods", pod(func(p *openapi.PodCreate) {
				p.Spec.Volumes = &[]openapi.PodVolume{{Name: "x", VolumeID: new(uuid.New())}}
			}), http.StatusNotFound, "not_found", "spec.volumes[0].volumeId",
		},
		{
			"a size above the quota", "/v1/pods", pod(func(p *openapi.PodCreate) { p.Spec.Resources.MemoryMiB = 1_000_000 }),
			http.StatusForbidden, "quota_exceeded", "spec.resources.memoryMiB",
		},
		{
			"a body of 10 MB", "/v1/pods", pod(func(p *openapi.PodCreate) { p.Spec.Containers[0].Image = strings.Repeat("x", 10<<20) }),
			http.StatusRequestEntityTooLarge, "too_large", "",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			status, p := post(t, tn, c.path, c.body)
			field := stack.Value(p.Field)
			if status != c.status || p.Code != c.code || field != c.field || stack.Value(p.Detail) == "" {
				t.Errorf("got %d %s at %q: %s; want %d %s at %q", status, p.Code, field, stack.Value(p.Detail), c.status, c.code, c.field)
			}
		})
	}
	t.Run("a quota of zero", func(t *testing.T) {
		tn.SetQuota(t, openapi.QuotaChange{Pods: new(0), Volumes: new(0), Images: new(0)})
		for path, body := range map[string]any{
			"/v1/pods": pod(func(*openapi.PodCreate) {}), "/v1/volumes": openapi.VolumeCreate{Name: "v", SizeGiB: 1},
			"/v1/images": openapi.ImageImport{Reference: tn.Refs["nginx"]},
		} {
			if status, p := post(t, tn, path, body); status != http.StatusForbidden || p.Code != "quota_exceeded" {
				t.Errorf("POST %s: %d %s", path, status, p.Code)
			}
		}
		tn.SetQuota(t, stack.GenerousQuota)
	})
	t.Run("not enough capacity", func(t *testing.T) {
		big := stack.GenerousQuota
		big.MemoryMiB = new(2_000_000)
		tn.SetQuota(t, big)
		waiting := tn.Create(t, "huge", func(s *openapi.PodSpec) {
			s.Resources.MemoryMiB = 1_000_000
			s.Containers[0].Image = busybox
		})
		stack.Eventually(t, 20*time.Second, func() error {
			// Pods of other tests may also use all of the cpu.
			p, err := tn.Get(t.Context(), waiting.ID)
			if err == nil && (p.Status.Phase != openapi.PodPhasePending || !strings.HasPrefix(stack.Value(p.Status.Reason), "Insufficient") ||
				!strings.Contains(stack.Value(p.Status.Message), "even if the nodes were empty")) {
				return fmt.Errorf("the pod is %s: %s: %s", p.Status.Phase, stack.Value(p.Status.Reason), stack.Value(p.Status.Message))
			}
			return err
		})
	})
	tn.Wait(t, holder.ID, openapi.PodPhaseRunning)
}

// post sends a body and returns the problem in the response.
func post(t *testing.T, tn *stack.Tenant, path string, body any) (int, openapi.Problem) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tn.API.API().Client.Do(must(http.NewRequestWithContext(t.Context(), http.MethodPost, tn.Env["HUSK_API"]+path, bytes.NewReader(raw))))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode < 300 {
		t.Fatalf("POST %s was accepted: %s", path, text)
	}
	var p openapi.Problem
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("POST %s: the response is %s: %s", path, ct, text)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode, p
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err) // a constant URL
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

// An import from a registry that requires a login needs the tenant's credentials for it.
func TestAnImageInARegistryThatRequiresALogin(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	ref := privateRegistry(t) + "/busybox:latest"
	for _, auth := range []*openapi.RegistryAuth{nil, {Username: registryUser, Password: "wrong"}} {
		_, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: ref, RegistryAuth: auth})
		if !client.HasCode(err, husk.CodeRegistryUnauthorized) {
			t.Errorf("imported with wrong or missing credentials: %v", err)
		}
	}
	host, _, _ := strings.Cut(ref, "/")
	documents := fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: logins}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{"auths": {%q: {"username": %q, "password": %q}}}'
---
apiVersion: v1
kind: Pod
metadata: {name: private}
spec:
  imagePullSecrets: [{name: logins}]
  containers: [{name: main, image: %q, command: [sleep, "1000000"]}]
`, host, registryUser, registryPassword, ref)
	if r := tn.Run(t, strings.NewReader(documents), "apply", "-f", "-", "--wait"); r.Code != 0 {
		t.Fatalf("a pod with a secret for its registry is not applied: %s%s", r.Out, r.Errs)
	}
	image, err := tn.API.Images.Import(t.Context(), openapi.ImageImport{Reference: ref, RegistryAuth: &openapi.RegistryAuth{
		Username: registryUser, Password: registryPassword,
	}})
	if err != nil {
		t.Fatalf("not imported with the right credentials: %v", err)
	}
	tn.WaitForImage(t, image.ID)
}
