// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// verb does something to a pod and returns its phase.
func (s fixture) verb(c tenancy, pod uuid.UUID, verb string) openapi.PodPhase {
	s.t.Helper()
	return as[openapi.Pod](s.t, s.call("POST", "/v1/pods/"+pod.String()+"/"+verb, c.token, nil), 202).Status.Phase
}

func (s fixture) phase(c tenancy, pod uuid.UUID) openapi.PodPhase {
	s.t.Helper()
	return as[openapi.Pod](s.t, s.call("GET", "/v1/pods/"+pod.String(), c.token, nil), 200).Status.Phase
}

func (s fixture) cpuInUse(c tenancy) int64 {
	s.t.Helper()
	return as[openapi.QuotaUse](s.t, s.call("GET", "/v1/quota", c.token, nil), 200).Used.CPUMillis
}

func TestAPodIsStoppedAndStarted(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	volume := as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	withVolume := map[string]any{"volumes": []any{map[string]any{"name": "data", "volumeId": volume.ID}}}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("web", nil, withVolume)), 201)

	// A pod that was never placed is stopped at once.
	if got := s.verb(c, pod.ID, "stop"); got != openapi.PodPhaseStopped || s.cpuInUse(c) != 0 {
		t.Errorf("a pending pod is %s after a stop, and %d thousandths of a core are in use", got, s.cpuInUse(c))
	}
	if got := s.verb(c, pod.ID, "stop"); got != openapi.PodPhaseStopped {
		t.Errorf("a second stop gives %s", got)
	}
	if pending, err := s.store.PendingPods(t.Context(), 10); err != nil || len(pending) != 0 {
		t.Errorf("the scheduler sees a stopped pod: %+v %v", pending, err)
	}
	if got := s.verb(c, pod.ID, "start"); got != openapi.PodPhasePending || s.verb(c, pod.ID, "start") != openapi.PodPhasePending {
		t.Errorf("after a start the pod is %s", got)
	}

	// A pod that runs is stopped on its node first.
	generation := func() int {
		return int(as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200).Generation)
	}
	run := func() {
		t.Helper()
		s.place(node, c, pod.ID)
		s.report(agent, pod.ID, generation(), husk.EventRunning)
		if got := s.phase(c, pod.ID); got != openapi.PodPhaseRunning {
			t.Fatalf("the pod is %s", got)
		}
	}
	gone := func() { t.Helper(); s.report(agent, pod.ID, generation(), husk.EventGone) }
	run()
	if got := s.verb(c, pod.ID, "stop"); got != openapi.PodPhaseStopping {
		t.Errorf("a running pod is %s after a stop", got)
	}
	gone()
	if got := s.phase(c, pod.ID); got != openapi.PodPhaseStopped || s.cpuInUse(c) != 0 {
		t.Errorf("the stopped pod is %s", got)
	}
	// It keeps its volume.
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.podWith("thief", nil, withVolume)), http.StatusConflict, husk.CodeVolumeInUse, "spec.volumes[0].volumeId")
	s.verb(c, pod.ID, "start")
	run()

	// Start before the pod has stopped.
	s.verb(c, pod.ID, "stop")
	s.verb(c, pod.ID, "start")
	gone()
	if got := s.phase(c, pod.ID); got != openapi.PodPhasePending {
		t.Errorf("a pod that was started while it stopped is %s", got)
	}
	run()
	s.verb(c, pod.ID, "restart")
	gone()
	if got := s.phase(c, pod.ID); got != openapi.PodPhasePending {
		t.Errorf("a restarted pod is %s", got)
	}
	run()

	// A pod that has ended has no claims any more. It starts only if it can have them.
	s.report(agent, pod.ID, generation(), husk.EventSucceeded)
	if got := s.verb(c, pod.ID, "stop"); got != openapi.PodPhaseSucceeded {
		t.Errorf("an ended pod is %s after a stop", got)
	}
	thief := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.podWith("thief", nil, withVolume)), 201)
	wantProblem(t, s.call("POST", "/v1/pods/"+pod.ID.String()+"/start", c.token, nil), http.StatusConflict, husk.CodeVolumeInUse, "")
	s.call("DELETE", "/v1/pods/"+thief.ID.String(), c.token, nil)
	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"cpuMillis": 0}}), 200)
	wantProblem(t, s.call("POST", "/v1/pods/"+pod.ID.String()+"/start", c.token, nil), http.StatusForbidden, husk.CodeQuotaExceeded, "")
	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"cpuMillis": 64000}}), 200)
	if got := s.verb(c, pod.ID, "start"); got != openapi.PodPhaseStopping {
		t.Errorf("an ended pod is %s after a start", got)
	}
	gone()
	run()

	s.verb(c, pod.ID, "stop")
	gone()
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	wantProblem(t, s.call("POST", "/v1/pods/"+pod.ID.String()+"/start", c.token, nil), http.StatusNotFound, husk.CodeNotFound, "")
}

// A pod that was started counts in the quota before it is pending, so many starts cannot exceed it.
func TestManyStartsStayWithinTheQuota(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pods := []openapi.Pod{s.createPod(c), s.createPod(c), s.createPod(c)}
	for _, p := range pods {
		s.place(node, c, p.ID)
		s.report(agent, p.ID, 1, husk.EventSucceeded)
	}
	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"cpuMillis": 500}}), 200)
	s.verb(c, pods[0].ID, "start")
	if got := s.cpuInUse(c); got != 500 {
		t.Errorf("%d thousandths of a core are in use", got)
	}
	wantProblem(t, s.call("POST", "/v1/pods/"+pods[1].ID.String()+"/start", c.token, nil), http.StatusForbidden, husk.CodeQuotaExceeded, "")
	// The same after a stop, once the pod is not counted any more.
	s.verb(c, pods[0].ID, "stop")
	s.verb(c, pods[1].ID, "start")
	wantProblem(t, s.call("POST", "/v1/pods/"+pods[0].ID.String()+"/start", c.token, nil), http.StatusForbidden, husk.CodeQuotaExceeded, "")
}

func TestAPodBeingDeletedIsNotStarted(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, _ := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	for _, verb := range []string{"start", "stop", "restart"} {
		wantProblem(t, s.call("POST", "/v1/pods/"+pod.ID.String()+"/"+verb, c.token, nil), http.StatusConflict, husk.CodeConflict, "")
	}
}

func TestNameLabelsAndAnnotationsOfAPodChange(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, func() map[string]any {
		body := c.podWith("web", map[string]any{"env": []any{map[string]any{"name": "TIER", "from": map[string]any{"field": "labels.tier"}}}}, nil)
		body["labels"], body["annotations"] = map[string]any{"tier": "front", "old": "1"}, map[string]any{"note": "x"}
		return body
	}()), 201)
	s.place(node, c, pod.ID)
	before := agent.desiredWhole()
	capacities, err := s.store.NodeCapacities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := "/v1/pods/" + pod.ID.String()
	got := as[openapi.Pod](t, s.call("PATCH", at, c.token, map[string]any{"name": "web-2", "labels": map[string]any{"tier": "back", "old": nil}, "annotations": map[string]any{"team": "a"}}), 200)
	if diff := cmp.Diff(openapi.Labels{"tier": "back"}, got.Labels); diff != "" || got.Name != "web-2" {
		t.Errorf("%s %s", got.Name, diff)
	}
	if diff := cmp.Diff(openapi.Annotations{"note": "x", "team": "a"}, *got.Annotations); diff != "" {
		t.Error(diff)
	}
	// The node gets the new values, and the scheduler reads its pods again.
	delta := agent.desiredSince(before.Revision)
	if len(delta.Pods) != 1 || delta.Pods[0].Name != "web-2" || delta.Pods[0].Containers[0].Env[len(delta.Pods[0].Containers[0].Env)-1] != "TIER=back" {
		t.Errorf("the node gets %+v", delta.Pods)
	}
	now, err := s.store.NodeCapacities(t.Context())
	if err != nil || now[0].Version <= capacities[0].Version {
		t.Errorf("the scheduler does not see the labels: %v", err)
	}
	if again := as[openapi.Pod](t, s.call("PATCH", at, c.token, map[string]any{"labels": map[string]any{"tier": "back"}}), 200); again.Generation != got.Generation {
		t.Error("the same labels are a change")
	}
	s.createPod(c)
	wantProblem(t, s.call("PATCH", at, c.token, map[string]any{"color": "blue"}), http.StatusUnprocessableEntity, husk.CodeUnknownField, "color")
	other := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.body("other")), 201)
	wantProblem(t, s.call("PATCH", "/v1/pods/"+other.ID.String(), c.token, map[string]any{"name": "web-2"}), http.StatusConflict, husk.CodeNameTaken, "name")

	ruled := c.body("ruled")
	ruled["labels"] = map[string]any{"app": "x"}
	ruled["spec"].(map[string]any)["scheduling"] = map[string]any{"rules": []any{map[string]any{"kind": "AntiAffinity", "label": "app", "topologyKey": "node"}}}
	withRule := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, ruled), 201)
	wantProblem(t, s.call("PATCH", "/v1/pods/"+withRule.ID.String(), c.token, map[string]any{"labels": map[string]any{"app": nil}}), http.StatusUnprocessableEntity, husk.CodeInvalid, "spec.scheduling.rules[0].label")
}

func TestTheNameOfAPodThatIsBeingDeletedIsTakenUntilItsEnd(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, _ := s.node()
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, c.body("web")), 201)
	taken := s.call("POST", "/v1/pods", c.token, c.body("web"))
	wantProblem(t, taken, 409, husk.CodeNameTaken, "name")
	if !strings.Contains(taken.body, "exists already") {
		t.Errorf("the response is %s", taken.body)
	}
	s.place(node, c, pod.ID)
	if got := s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil); got.status != 202 {
		t.Fatalf("deleting gets %d %s", got.status, got.body)
	}
	taken = s.call("POST", "/v1/pods", c.token, c.body("web"))
	wantProblem(t, taken, 409, husk.CodeNameTaken, "name")
	if !strings.Contains(taken.body, `is still being deleted; its containers have until 20`) {
		t.Errorf("the response is %s", taken.body)
	}
}
