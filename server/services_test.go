// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"testing"

	"husk"
	"husk/openapi"
)

// A watch shows that a pod is ready, and that it is being stopped before its node reports anything.
func TestAWatchShowsTheEndpointsOfAService(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	body := map[string]any{"name": "web", "selector": "app=web", "ports": []any{map[string]any{"port": 80}}, "labels": map[string]any{"team": "shop"}}
	dry := as[openapi.Service](t, s.call("POST", "/v1/services?dryRun=true", c.token, body), 201)
	if openapi.Value(dry.Status.Address) != "100.127.0.1" || openapi.Value(dry.Ports[0].TargetPort) != 80 {
		t.Errorf("the dry run returns %+v", dry)
	}
	made := as[openapi.Service](t, s.call("POST", "/v1/services", c.token, body), 201)
	lines := s.stream("/v1/services?watch=true&labelSelector=team%3Dshop", c.token)
	if !readUntil(lines, `"readyEndpoints":0`) || !readUntil(lines, "synced") {
		t.Fatal("the watch ends before it is synced")
	}
	pod := s.createPodWith(c, 500, 128, map[string]any{"app": "web"}, map[string]any{})
	s.place(node, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventRunning)
	if !readUntil(lines, `"readyEndpoints":1`) {
		t.Fatal("the watch ends before the pod is ready")
	}
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	if !readUntil(lines, `"readyEndpoints":0`) {
		t.Fatal("the watch ends before the pod is stopping")
	}
	at := "/v1/services/" + made.ID.String()
	got := as[openapi.Service](t, s.call("GET", at, c.token, nil), 200)
	if len(got.Status.Endpoints) != 1 || got.Status.Endpoints[0].Ready || got.Status.Endpoints[0].PodID != pod.ID || got.Status.NotReadyEndpoints != 1 {
		t.Errorf("the status is %+v", got.Status)
	}
	changed := as[openapi.Service](t, s.call("PATCH", at, c.token, map[string]any{"affinity": "client", "selector": "!canary"}), 200)
	if changed.Affinity != openapi.ServiceAffinityClient || changed.Selector != "!canary" || openapi.Value(changed.Status.Address) != openapi.Value(made.Status.Address) {
		t.Errorf("the service is %+v", changed)
	}
	back := as[openapi.Service](t, s.call("PATCH", at, c.token, map[string]any{"affinity": "none"}), 200)
	if back.AffinityTimeoutSeconds != nil {
		t.Errorf("the service is %+v", back)
	}
	wantProblem(t, s.call("PATCH", at, c.token, map[string]any{"selector": "=="}), http.StatusUnprocessableEntity, husk.CodeInvalid, "selector")
	wantProblem(t, s.call("PATCH", at, c.token, map[string]any{"name": "other"}), http.StatusUnprocessableEntity, husk.CodeUnknownField, "name")
	if a := s.call("DELETE", at, c.token, nil); a.status != http.StatusNoContent {
		t.Errorf("the deletion gets the response %d %s", a.status, a.body)
	}
	if !readUntil(lines, "deleted") {
		t.Error("the watch ends before the service is deleted")
	}
}
