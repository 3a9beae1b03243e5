// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// A dry run checks everything and leaves nothing behind: no object, event, audit entry, usage of the quota or idempotency key.
func TestADryRunStoresNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	lists := []string{"/v1/pods", "/v1/volumes", "/v1/events", "/v1/audit", "/v1/quota"}
	before := map[string]string{}
	for _, list := range lists {
		before[list] = s.call("GET", list, c.token, nil).body
	}
	volume := map[string]any{"name": "data", "sizeGiB": 1}
	for path, body := range map[string]any{"/v1/pods": c.body("web"), "/v1/volumes": volume} {
		a := s.call("POST", path+"?dryRun=true", c.token, body, "Idempotency-Key", "once")
		if a.status != http.StatusCreated || !strings.Contains(a.body, `"id"`) {
			t.Errorf("a dry run of %s: %d %s", path, a.status, a.body)
		}
	}
	for _, list := range lists {
		if now := s.call("GET", list, c.token, nil).body; now != before[list] {
			t.Errorf("after a dry run, %s is %s; before it was %s", list, now, before[list])
		}
	}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods?dryRun=false", c.token, c.body("web"), "Idempotency-Key", "once"), 201)
	as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200)
	as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, volume), 201)

	resources := "/v1/pods/" + pod.ID.String() + "/resources?dryRun=true"
	if resized := as[openapi.Pod](t, s.call("PATCH", resources, c.token, map[string]any{"memoryMiB": 256}), 200); resized.Spec.Resources.MemoryMiB != 256 {
		t.Errorf("a dry run of a change of size shows %d MiB", resized.Spec.Resources.MemoryMiB)
	}
	if now := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200); now.Spec.Resources != pod.Spec.Resources || now.Generation != pod.Generation {
		t.Errorf("a dry run has changed the pod's size: %+v", now.Spec.Resources)
	}
	wantProblem(t, s.call("PATCH", resources, c.token, map[string]any{"memoryMiB": 4 << 20}), http.StatusForbidden, husk.CodeQuotaExceeded, "memoryMiB")

	wantProblem(t, s.call("POST", "/v1/pods?dryRun=true", c.token, c.body("web")), http.StatusConflict, husk.CodeNameTaken, "name")
	wantProblem(t, s.call("POST", "/v1/volumes?dryRun=true", c.token, volume), http.StatusConflict, husk.CodeNameTaken, "name")
	big := c.body("big")
	big["spec"].(map[string]any)["resources"] = map[string]any{"cpuMillis": 256_000, "memoryMiB": 4 << 20}
	wantProblem(t, s.call("POST", "/v1/pods?dryRun=true", c.token, big), http.StatusForbidden, husk.CodeQuotaExceeded, "spec.resources.cpuMillis")
	wantProblem(t, s.call("POST", "/v1/volumes?dryRun=true", c.token, map[string]any{"name": "big", "sizeGiB": 16384}), http.StatusForbidden, husk.CodeQuotaExceeded, "sizeGiB")
	wantProblem(t, s.call("POST", "/v1/pods?dryRun=true", s.tokenOf(c, husk.RoleViewer), c.body("other")), http.StatusForbidden, husk.CodeForbidden, "")
}

// What a pod needs can be created after the dry run and before the pod. A pod that is really created needs it.
func TestADryRunAllowsMissingImagesAndVolumes(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for field, change := range map[string]func(spec map[string]any){
		"spec.containers[0].image": func(spec map[string]any) {
			spec["containers"].([]any)[0].(map[string]any)["image"] = "registry.example.com/other:1"
		},
		"spec.volumes[0].volumeId": func(spec map[string]any) {
			spec["volumes"] = []any{map[string]any{"name": "data", "volumeId": uuid.New()}}
		},
	} {
		body := c.body("web")
		change(body["spec"].(map[string]any))
		as[openapi.Pod](t, s.call("POST", "/v1/pods?dryRun=true", c.token, body), 201)
		a := s.call("POST", "/v1/pods", c.token, body)
		if a.status == http.StatusCreated || !strings.Contains(a.body, field) {
			t.Errorf("without %s, a pod is created: %d %s", field, a.status, a.body)
		}
	}
}
