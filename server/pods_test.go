// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/ceph"
	"husk/openapi"
	"husk/store"
)

func TestAPodIsCreatedRunsAndIsDeletedOverHTTP(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	body := c.body("web")
	body["labels"] = map[string]any{"app": "shop"}
	body["spec"].(map[string]any)["terminationGracePeriodSeconds"] = 0
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, body), 201)
	if pod.Status.Phase != openapi.PodPhasePending || pod.Name != "web" || pod.Labels["app"] != "shop" || *pod.Spec.TerminationGracePeriodSeconds != 0 || *pod.Spec.RestartPolicy != "Always" {
		t.Errorf("the pod is %+v", pod)
	}
	if p := s.createPod(c); *p.Spec.TerminationGracePeriodSeconds != defaultGracePeriod {
		t.Errorf("the default grace period is %d", *p.Spec.TerminationGracePeriodSeconds)
	}
	at := "/v1/pods/" + pod.ID.String()
	wantProblem(t, s.call("GET", at+"/logs", c.token, nil), http.StatusServiceUnavailable, husk.CodeLogsUnavailable, "")
	s.place(node, c, pod.ID)
	wantProblem(t, s.call("GET", at+"/logs", c.token, nil), http.StatusServiceUnavailable, husk.CodeLogsUnavailable, "")
	wantProblem(t, s.call("GET", at+"/logs?container=other", c.token, nil), 422, husk.CodeInvalid, "container")
	s.report(agent, pod.ID, 1, husk.EventRunning)
	now := as[openapi.Pod](t, s.call("GET", at, c.token, nil), 200)
	if now.Status.Phase != openapi.PodPhaseRunning || now.Status.NodeName == nil || len(now.Status.Containers) != 1 || now.Status.VmmOverheadMiB != 50 {
		t.Errorf("the pod is %+v", now.Status)
	}
	wantProblem(t, s.call("DELETE", "/v1/admin/nodes/"+node.String(), s.operator(), nil), http.StatusConflict, husk.CodeConflict, "")
	wantProblem(t, s.call("DELETE", "/v1/admin/tenants/"+c.id.String(), s.operator(), nil), http.StatusConflict, husk.CodeConflict, "")
	wantProblem(t, s.call("DELETE", "/v1/images/"+c.image.ID.String(), c.token, nil), http.StatusConflict, husk.CodeImageInUse, "")
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.body("web")), http.StatusConflict, husk.CodeNameTaken, "name")
	for range 2 {
		gone := as[openapi.Pod](t, s.call("DELETE", at, c.token, nil), 202)
		if gone.Status.Phase != openapi.PodPhaseStopping || gone.Generation != 2 || gone.DeletionRequestedAt == nil {
			t.Errorf("the deletion responds with %+v", gone)
		}
	}
	s.report(agent, pod.ID, 2, husk.EventGone)
	wantProblem(t, s.call("GET", at, c.token, nil), http.StatusNotFound, husk.CodeNotFound, "")
	metrics := s.call("GET", "/metrics", s.operator(), nil)
	for _, line := range []string{`husk_pods{phase="Pending"} 1`, `husk_nodes{state="Ready"} 1`, `husk_http_request_duration_seconds_count{operation="CreatePod",status="201"} 2`} {
		if !strings.Contains(metrics.body, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestAnExceededQuotaHasItsOwnProblemCode(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	none := map[string]any{"scratchGiB": 0, "pods": 0, "cpuMillis": 0, "memoryMiB": 0, "volumes": 0, "volumeGiB": 0, "images": 0, "snapshots": 0, "networks": 0, "addresses": 0, "configs": 0, "securityGroups": 0, "services": 0, "ingresses": 0}
	changed := as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": none}), 200)
	if changed.Quota != (openapi.Quota{RequestsPerSecond: 100_000}) {
		t.Errorf("the quota is %+v", changed.Quota)
	}
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.body("web")), http.StatusForbidden, husk.CodeQuotaExceeded, "")
	wantProblem(t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), http.StatusForbidden, husk.CodeQuotaExceeded, "")
}

func TestAnIdempotencyKeyMakesARepetitionSafe(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	for path, bodies := range map[string][2]any{
		"/v1/pods":    {c.body("web"), c.body("other")},
		"/v1/volumes": {map[string]any{"name": "data", "sizeGiB": 1}, map[string]any{"name": "data", "sizeGiB": 2}},
	} {
		key := uuid.NewString()
		first := s.call("POST", path, c.token, bodies[0], "Idempotency-Key", key)
		second := s.call("POST", path, c.token, bodies[0], "Idempotency-Key", key)
		if first.status != 201 || second.status != 201 {
			t.Fatalf("%s: %d %s, %d %s", path, first.status, first.body, second.status, second.body)
		}
		if diff := cmp.Diff(normal(t, first.body), normal(t, second.body)); diff != "" {
			t.Errorf("the second response of %s differs (-first +second):\n%s", path, diff)
		}
		wantProblem(t, s.call("POST", path, c.token, bodies[1], "Idempotency-Key", key), 422, husk.CodeIdempotencyMismatch, "Idempotency-Key")
		var wg sync.WaitGroup
		ids := make([]string, 10)
		body := bodies[1]
		if path == "/v1/volumes" {
			body = map[string]any{"name": "many", "sizeGiB": 1}
		}
		key = uuid.NewString()
		for i := range ids {
			wg.Go(func() {
				a := s.call("POST", path, c.token, body, "Idempotency-Key", key)
				var v struct{ ID string }
				if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.status != 201 {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
				ids[i] = v.ID
			})
		}
		wg.Wait()
		if slices.Sort(ids); ids[0] != ids[len(ids)-1] || ids[0] == "" {
			t.Errorf("%s created %v with one key", path, slices.Compact(ids))
		}
	}
}

// normal decodes JSON, so that the order of its fields does not matter.
func normal(t *testing.T, raw string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPagesOverHTTP(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	want := []string{}
	for range 5 {
		want = append(want, s.createPod(c).Name)
	}
	got := []string{}
	for next := ""; ; {
		page := as[openapi.PodList](t, s.call("GET", "/v1/pods?limit=2&cursor="+next, c.token, nil), 200)
		for _, p := range page.Items {
			got = append(got, p.Name)
		}
		if page.NextCursor == nil {
			break
		}
		next = *page.NextCursor
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if one := as[openapi.PodList](t, s.call("GET", "/v1/pods?name="+want[3], c.token, nil), 200); len(one.Items) != 1 || one.Items[0].Name != want[3] {
		t.Errorf("the list by name is %+v", one)
	}
}

type event struct {
	kind string
	pod  openapi.Pod
}

// watch follows a tenant's pods until the test ends.
func (s fixture) watch(ctx context.Context, c tenancy, query string) <-chan event {
	s.t.Helper()
	r := s.request("GET", "/v1/pods?watch=true"+query, c.token, nil).WithContext(ctx)
	resp, err := s.web.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("the watch gets the response %s", resp.Status)
	}
	events := make(chan event, 100)
	done := make(chan struct{})
	s.t.Cleanup(func() { _ = resp.Body.Close(); <-done })
	go func() {
		defer close(done)
		defer close(events)
		var e event
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				e.kind = value
			case "data":
				if json.Unmarshal([]byte(value), &e.pod) != nil {
					e.kind = "not JSON: " + value
				}
			case "":
				if e.kind != "" {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan event) string {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			return "the end"
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.kind, e.pod.Name, e.pod.Status.Phase))
	case <-time.After(patience):
		t.Fatal("the watch sends nothing")
		return ""
	}
}

// until reads events until the wanted one. It fails if it reads an event that is neither wanted nor
// in before.
func until(t *testing.T, events <-chan event, want string, before ...string) {
	t.Helper()
	for {
		got := next(t, events)
		if got == want {
			return
		}
		if !slices.Contains(before, got) {
			t.Fatalf("the watch sends %q, want %q", got, want)
		}
	}
}

func TestAWatchStartsWithTheListAndFollowsIt(t *testing.T) {
	t.Parallel()
	s := open(t)
	c, other := s.tenant(), s.tenant()
	node, agent := s.node()
	first := s.createPod(c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := s.watch(ctx, c, "")
	until(t, events, "added "+first.Name+" Pending")
	until(t, events, "synced")
	s.createPod(other) // another tenant's pod, which the watch must not show
	second := s.createPod(c)
	until(t, events, "added "+second.Name+" Pending")
	s.place(node, c, first.ID)
	until(t, events, "modified "+first.Name+" Starting")
	s.report(agent, first.ID, 1, husk.EventRunning)
	until(t, events, "modified "+first.Name+" Running")
	s.report(agent, first.ID, 1, husk.EventRunning) // a repeated report, which changes nothing
	s.call("DELETE", "/v1/pods/"+first.ID.String(), c.token, nil)
	until(t, events, "modified "+first.Name+" Stopping")
	s.call("DELETE", "/v1/pods/"+second.ID.String(), c.token, nil)
	until(t, events, "deleted "+second.Name+" Pending")
	s.report(agent, first.ID, 2, husk.EventGone)
	until(t, events, "deleted "+first.Name+" Stopping")

	third := s.createPod(c)
	until(t, events, "added "+third.Name+" Pending")
	named := s.watch(ctx, c, "&name="+third.Name)
	until(t, named, "added "+third.Name+" Pending")
	until(t, named, "synced")
	s.createPod(c)
	s.call("DELETE", "/v1/pods/"+third.ID.String(), c.token, nil)
	until(t, named, "deleted "+third.Name+" Pending")
	cancel()
}

func TestTheDesiredStateIsReturnedAsSoonAsItChanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	volume := as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 1}), 201)
	body := c.body("web")
	spec := body["spec"].(map[string]any)
	spec["volumes"] = []any{map[string]any{"name": "disk", "volumeId": volume.ID}}
	spec["containers"].([]any)[0].(map[string]any)["volumeMounts"] = []any{map[string]any{"volume": "disk", "mountPath": "/data", "readOnly": true}}
	spec["containers"].([]any)[0].(map[string]any)["env"] = []any{map[string]any{"name": "A", "value": "pod"}}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, body), 201)
	tenant := as[openapi.Tenant](t, s.call("GET", "/v1/admin/tenants/"+c.id.String(), s.operator(), nil), 200)

	empty := as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	if len(empty.Pods) != 0 {
		t.Fatalf("the node's desired state is %+v", empty.Pods)
	}
	if again := as[openapi.DesiredState](t, agent.call("GET", fmt.Sprintf("/v1/agent/desired?after=%d&waitSeconds=1", empty.Revision), "", nil), 200); again.Revision != empty.Revision {
		t.Errorf("the desired state has not changed, but the revision is %d after %d", again.Revision, empty.Revision)
	}
	sent, responses := make(chan struct{}), make(chan response)
	go func() {
		close(sent)
		responses <- agent.call("GET", fmt.Sprintf("/v1/agent/desired?after=%d&waitSeconds=60", empty.Revision), "", nil)
	}()
	<-sent
	s.place(node, c, pod.ID)
	var state openapi.DesiredState
	select {
	case a := <-responses:
		state = as[openapi.DesiredState](t, a, 200)
	case <-time.After(patience):
		t.Fatal("the placement does not end the agent's request")
	}
	if state.Revision <= empty.Revision || len(state.Pods) != 1 {
		t.Fatalf("the state is %+v", state)
	}
	got, err := openapi.Recast[husk.DesiredPod](state.Pods[0])
	if err != nil {
		t.Fatal(err)
	}
	prefix := strings.TrimSuffix(tenant.NetworkCidr, "0/24")
	want := husk.DesiredPod{
		ID: pod.ID, TenantID: c.id, Name: "web", Placement: 1, Generation: 1, State: husk.DesiredRunning, Resources: husk.Resources{CPUMillis: 500, MemoryMiB: 128},
		VMMOverheadMiB: 50, ScratchGiB: 10, Network: husk.DesiredNetwork{ID: got.Network.ID, MAC: got.Network.MAC, Address: prefix + "2/24", Gateway: prefix + "1", NamesSuffix: "husk.internal"},
		Disks: []husk.DesiredDisk{
			{Pool: "volumes", Name: c.image.CloneName(), Serial: husk.DiskSerial("img", c.image.ID), ReadOnly: true},
			{Pool: "volumes", Name: "vol-" + volume.ID.String(), Serial: husk.DiskSerial("vol", volume.ID), SizeGiB: 1},
		},
		Ceph: husk.CephAccess{Monitors: []string{"192.0.2.1:6789"}, User: ceph.User(husk.KeyHolder(pod.ID, 1)), Key: "cephx-secret"},
		Containers: []husk.DesiredContainer{{
			Name: "main", ImageSerial: husk.DiskSerial("img", c.image.ID), Args: []string{"/bin/server", "--quiet"}, Env: append(husk.MergeContainer(husk.Container{}, husk.ImageConfig{}).Env, "A=pod"),
			WorkingDir: "/srv", User: "web", StopSignal: "SIGQUIT", Files: []husk.File{},
			VolumeMounts:     []husk.VolumeMount{{Volume: "disk", MountPath: "/data", ReadOnly: true}},
			ContainerOptions: husk.ContainerOptions{NoNewPrivileges: new(true)}, // the image has no set-user-ID programs
		}},
		Volumes:       []husk.DesiredVolume{{Name: "disk", Serial: husk.DiskSerial("vol", volume.ID), FSType: "ext4"}},
		RestartPolicy: husk.RestartAlways, GracePeriodSeconds: defaultGracePeriod,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the node's desired state (-want +got):\n%s", diff)
	}
	// The desired state of another node does not contain the pod.
	_, stranger := s.node()
	if other := as[openapi.DesiredState](t, stranger.call("GET", "/v1/agent/desired", "", nil), 200); len(other.Pods) != 0 {
		t.Errorf("another node's desired state is %+v", other.Pods)
	}
	s.report(stranger, pod.ID, 1, husk.EventFailed)
	if now := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200); now.Status.Phase != openapi.PodPhaseStarting {
		t.Errorf("another node made the pod %s", now.Status.Phase)
	}
}

// Environment variables and files often are secrets. Viewers may read pods, but must not see them.
func TestViewersDoNotSeeSecrets(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	spec := map[string]any{"resources": map[string]any{"cpuMillis": 500, "memoryMiB": 128}, "containers": []any{map[string]any{
		"name": "main", "image": c.image.Reference, "env": []any{map[string]any{"name": "PASSWORD", "value": "s3cret"}},
		"files":         []any{map[string]any{"path": "/a", "content": "s3cret"}, map[string]any{"path": "/b", "contentBase64": "czNjcmV0"}},
		"livenessProbe": map[string]any{"httpGet": map[string]any{"port": 80, "headers": []any{map[string]any{"name": "Authorization", "value": "pr0bed"}}}},
		"preStop":       map[string]any{"httpGet": map[string]any{"port": 80, "headers": []any{map[string]any{"name": "Authorization", "value": "st0pped"}}}},
	}}, "initContainers": []any{map[string]any{
		"name": "first", "image": c.image.Reference, "env": []any{map[string]any{"name": "PASSWORD", "value": "1nitial"}},
	}}, "volumes": []any{map[string]any{"name": "all", "projected": []any{map[string]any{"files": []any{map[string]any{"path": "a", "content": "pr0jected"}}}}}}}
	pod := as[openapi.Pod](t, s.call("POST", "/v1/pods", c.token, map[string]any{"name": named("pod"), "spec": spec}), 201)
	viewer := s.tokenOf(c, husk.RoleViewer)
	one := "/v1/pods/" + pod.ID.String()
	for _, path := range []string{one, "/v1/pods"} {
		for _, secret := range []string{"s3cret", "czNjcmV0", "pr0bed", "st0pped", "1nitial", "pr0jected"} {
			if a := s.call("GET", path, viewer, nil); a.status != 200 || strings.Contains(a.body, secret) || !strings.Contains(a.body, "PASSWORD") {
				t.Errorf("%s: a viewer gets %s", path, a.body)
			}
			if a := s.call("GET", path, c.token, nil); !strings.Contains(a.body, secret) {
				t.Errorf("%s: an owner does not get %s: %s", path, secret, a.body)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.token = viewer
	for e := range s.watch(ctx, c, "") {
		if e.kind == "synced" {
			break
		}
		for _, container := range e.pod.Spec.Containers {
			if openapi.Value((*container.Env)[0].Value) != hidden || *(*container.Files)[0].Content != hidden || (*container.Files)[1].ContentBase64 != nil {
				t.Errorf("a viewer's watch has %+v", container)
			}
		}
	}
}

// An earlier version accepted pods that are too large for a guest. Their nodes still get the state of the other pods.
func TestAPodThatCannotBeDeliveredFailsAlone(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	large, other := s.createPod(c), s.createPod(c)
	for _, pod := range []openapi.Pod{large, other} {
		s.place(node, c, pod.ID)
	}
	db := s.connect(store.RoleControl)
	if _, err := db.Exec(t.Context(), "UPDATE pods SET spec = jsonb_set(spec, '{containers,0,args}', to_jsonb(array_fill(repeat('x', 32000), ARRAY[40]))) WHERE id = $1", large.ID); err != nil {
		t.Fatal(err)
	}
	state := as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	if len(state.Pods) != 1 || state.Pods[0].ID != other.ID {
		t.Errorf("the node gets %d pods", len(state.Pods))
	}
	s.call("DELETE", "/v1/pods/"+large.ID.String(), c.token, nil)
	state = as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	if len(state.Pods) != 2 {
		t.Errorf("after the deletion of the large pod the node gets %d pods", len(state.Pods))
	}
}

func TestALimitIsWrittenAsAPlainNumber(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := s.call("PATCH", "/v1/pods/"+uuid.NewString()+"/resources", s.tenant().token, map[string]any{"memoryMiB": 10_000_000})
	wantProblem(t, a, http.StatusUnprocessableEntity, husk.CodeInvalid, "memoryMiB")
	if !strings.Contains(*a.problem.Detail, "at most 4194304") {
		t.Errorf("the limit is described as %q", *a.problem.Detail)
	}
}
