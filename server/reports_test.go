// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/store"
)

func reportOf(pod uuid.UUID, change func(map[string]any)) map[string]any {
	report := map[string]any{"podId": pod, "generation": 1, "event": husk.EventRunning, "restarts": 0, "containers": []any{}}
	change(report)
	return report
}

// A guest controls parts of its report. Each case sends a report that violates the contract, between two valid ones.
func TestARefusedReportDoesNotAffectTheOtherReportsOfItsNode(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	containers := make([]any, 17)
	for i := range containers {
		containers[i] = map[string]any{"name": fmt.Sprint("c", i), "state": "Running", "restarts": 0}
	}
	for name, violate := range map[string]func(map[string]any){
		"17 containers":  func(r map[string]any) { r["containers"] = containers },
		"a long reason":  func(r map[string]any) { r["reason"] = strings.Repeat("x", 101) },
		"a long message": func(r map[string]any) { r["message"] = strings.Repeat("x", 4097) },
		"a container's long message": func(r map[string]any) {
			containers[0].(map[string]any)["message"] = strings.Repeat("x", 4097)
			r["containers"] = containers[:1]
		},
		"an unknown event": func(r map[string]any) { r["event"] = "Dreaming" },
		"no event":         func(r map[string]any) { delete(r, "event") },
	} {
		node, agent := s.node()
		first, hostile, last := s.createPod(c), s.createPod(c), s.createPod(c)
		s.place(node, c, first.ID)
		s.place(node, c, hostile.ID)
		s.place(node, c, last.ID)
		keep := func(map[string]any) {}
		a := agent.call("POST", "/v1/agent/status?perItem=true", "", map[string]any{
			"pods": []any{reportOf(first.ID, keep), reportOf(hostile.ID, violate), reportOf(last.ID, keep)},
			"runs": []any{map[string]any{"podId": hostile.ID, "startedAt": "yesterday", "receivedBytes": 0, "sentBytes": 0}},
		})
		got := as[openapi.ReportResult](t, a, 200)
		want := []openapi.ReportFailure{{List: "pods", Index: 1}, {List: "runs"}}
		slices.SortFunc(got.Items, func(a, b openapi.ReportFailure) int { return strings.Compare(string(a.List), string(b.List)) })
		if diff := cmp.Diff(want, got.Items, cmpopts.IgnoreFields(openapi.ReportFailure{}, "Code", "Field", "Detail")); diff != "" {
			t.Errorf("%s: failures (-want +got):\n%s", name, diff)
		}
		for _, pod := range []uuid.UUID{first.ID, last.ID} {
			if p := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.String(), c.token, nil), 200); p.Status.Phase != openapi.PodPhaseRunning {
				t.Errorf("%s: another pod of the node is %s", name, p.Status.Phase)
			}
		}
	}
}

// An agent may be newer than its server, which ignores what it does not know.
func TestUnknownFieldsOfANewerAgentAreIgnored(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	heartbeat := map[string]any{
		"capacity": map[string]any{"cpuMillis": 8000, "memoryMiB": 16384, "gpus": 2}, "vmmOverheadMiB": 50, "endpoint": "https://192.0.2.7:7443",
		"capabilities": []string{"privileged", "telepathy"}, "mood": "good",
	}
	if a := agent.call("POST", "/v1/agent/heartbeat", "", heartbeat); a.status != 200 {
		t.Errorf("a heartbeat with unknown fields got %d: %s", a.status, a.body)
	}
	container := map[string]any{"name": "main", "state": "Running", "restarts": 0, "mood": "good"}
	report := reportOf(pod.ID, func(r map[string]any) { r["mood"], r["containers"] = "good", []any{container} })
	body := map[string]any{"pods": []any{report}, "mood": "good"}
	if a := agent.call("POST", "/v1/agent/status?perItem=true", "", body); a.status != 204 {
		t.Errorf("a report with unknown fields got %d: %s", a.status, a.body)
	}
	if p := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200); p.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("the pod is %s although its agent reported it as running", p.Status.Phase)
	}
	operator := s.call("GET", "/v1/admin/nodes/"+node.String(), s.operator(), nil)
	if n := as[openapi.Node](t, operator, 200); !slices.Equal(n.Capabilities, []string{"privileged", "telepathy"}) {
		t.Errorf("the node's capabilities are %q", n.Capabilities)
	}
}

// An agent of an earlier version sends no perItem and reads no items. It sends a batch again and again until the server accepts it.
func TestAnAgentOfAnEarlierVersionIsNotStoppedByOneReport(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	hostile, honest := s.createPod(c), s.createPod(c)
	s.place(node, c, hostile.ID)
	s.place(node, c, honest.ID)
	a := agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{
		reportOf(hostile.ID, func(r map[string]any) { r["reason"] = strings.Repeat("x", 101) }), reportOf(honest.ID, func(map[string]any) {}),
	}})
	if a.status != 204 {
		t.Errorf("the response is %d %s", a.status, a.body)
	}
	if p := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+honest.ID.String(), c.token, nil), 200); p.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("another pod of the node is %s", p.Status.Phase)
	}
}

// Postgres has no time before 4713 BC.
func TestAUsageIntervalThatCannotBeRecordedDoesNotAffectTheOthers(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, _ := s.node()
	broken, honest := s.createPod(c), s.createPod(c)
	s.place(node, c, broken.ID)
	s.place(node, c, honest.ID)
	_, err := api{control: s.store}.recordRuns(t.Context(), node, []husk.MachineRun{
		{PodID: broken.ID, StartedAt: time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC)}, {PodID: honest.ID, StartedAt: time.Now().UTC()},
	})
	if failed, ok := errors.AsType[husk.ItemsError](err); !ok || len(failed) != 1 || failed[0] == nil {
		t.Errorf("the failures are %v, want one of item 0", err)
	}
	if used := as[openapi.UsageList](t, s.call("GET", "/v1/usage?groupBy=object", c.token, nil), 200).Items; len(used) != 1 {
		t.Errorf("the recorded usage is %+v, want that of one pod", used)
	}
}

func TestARefusedSampleDoesNotAffectTheOtherSamplesOfItsNode(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventRunning)
	s.sendSamples(agent, map[string]any{"podId": uuid.New(), "cpuNanos": -1}, sampleBody(pod.ID, 1))
	if got := s.scrape(c.token).body; !strings.Contains(got, "husk_pod_cpu_seconds_total{") {
		t.Errorf("the valid sample is not exposed: %s", got)
	}
}

// The ledger is locked here, as by a slow query. The statuses are recorded all the same, but a pod's row stays until its usage is recorded.
func TestStatusesDoNotWaitForTheLedger(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	running, gone := s.createPod(c), s.createPod(c)
	s.place(node, c, running.ID)
	s.place(node, c, gone.ID)
	db := s.connect(store.RoleOwner)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE usage_intervals IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	a := agent.call("POST", "/v1/agent/status?perItem=true", "", map[string]any{
		"pods": []any{reportOf(running.ID, func(map[string]any) {}), reportOf(gone.ID, func(r map[string]any) { r["event"] = husk.EventGone })},
		"runs": []any{map[string]any{"podId": running.ID, "startedAt": time.Now(), "receivedBytes": 1, "sentBytes": 1}},
	})
	if a.status < 500 {
		t.Errorf("the response is %d; the agent would not report its usage again", a.status)
	}
	if p := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+running.ID.String(), c.token, nil), 200); p.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("the pod is %s, want Running", p.Status.Phase)
	}
	as[openapi.Pod](t, s.call("GET", "/v1/pods/"+gone.ID.String(), c.token, nil), 200)
}

// Reports of many agents that wait for something do not hold every connection: the server still takes heartbeats, without which it would
// consider the nodes lost.
func TestReportsThatWaitDoNotDelayHeartbeats(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	var pods []uuid.UUID
	for range 12 { // twice as many as the pool has connections
		pod := s.createPod(c)
		s.place(node, c, pod.ID)
		pods = append(pods, pod.ID)
	}
	db := s.connect("postgres")
	if _, err := db.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), "SELECT FROM pods FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	var reporting sync.WaitGroup
	for _, pod := range pods {
		reporting.Go(func() { s.report(agent, pod, 1, husk.EventRunning) })
	}
	watcher := s.connect("postgres")
	for waiting, end := 0, time.Now().Add(10*time.Second); waiting < 3; time.Sleep(10 * time.Millisecond) {
		err := watcher.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d reports wait for the lock, %v", waiting, err)
		}
	}
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		resp, err := agent.web.Do(agent.request("POST", "/v1/agent/heartbeat", "", heartbeatBody).WithContext(ctx))
		if err != nil {
			t.Errorf("a heartbeat while reports wait: %v", err)
		} else if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("a heartbeat while reports wait: %s, %v", resp.Status, err)
		}
		cancel()
	}
	if _, err := db.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	reporting.Wait()
	for _, pod := range pods {
		if p := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.String(), c.token, nil), 200); p.Status.Phase != openapi.PodPhaseRunning {
			t.Errorf("pod %s is %s", pod, p.Status.Phase)
		}
	}
}
