// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/guest"
	"husk/nodeagent/translate"
	"husk/nodeagent/usagelog"
	"husk/openapi"
	"husk/openapi/agentclient"
)

// reportedTo returns a reporter whose server responds with respond, and its log.
func reportedTo(t *testing.T, respond func(openapi.StatusReport, http.ResponseWriter)) (*reporter, *bytes.Buffer) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body openapi.StatusReport
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Pods == nil {
			t.Errorf("the body is not a report: %v", err)
		}
		respond(body, w)
	}))
	t.Cleanup(srv.Close)
	api, err := agentclient.NewClient(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := usagelog.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return newReporter(&serverClient{api: api}, runs, slog.New(slog.NewTextHandler(&log, nil))), &log
}

// recorder keeps what a server has recorded.
type recorder struct {
	mu       sync.Mutex
	pods     map[uuid.UUID]string
	runs     map[uuid.UUID]bool
	requests int
}

func (r *recorder) record(pods []openapi.PodReport, runs []openapi.MachineRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pods {
		r.pods[p.PodID] = openapi.Value(p.Message)
	}
	for _, run := range runs {
		r.runs[run.PodID] = true
	}
}

// counted returns the sum of a counter over its labels.
func counted(t *testing.T, c prometheus.Collector) (sum float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// A server of an earlier version refuses a batch as a whole, without saying what is wrong with it.
func TestAReportThatAnEarlierServerRefusesDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	hostile, misdated := uuid.New(), uuid.New()
	got := recorder{pods: map[uuid.UUID]string{}, runs: map[uuid.UUID]bool{}}
	r, log := reportedTo(t, func(body openapi.StatusReport, w http.ResponseWriter) {
		got.requests++
		runs := openapi.Value(body.Runs)
		for _, p := range body.Pods {
			if p.PodID == hostile {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
		}
		for _, run := range runs {
			if run.PodID == misdated {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
		}
		got.record(body.Pods, runs)
		w.WriteHeader(http.StatusNoContent)
	})
	pods := []uuid.UUID{hostile, misdated}
	for range 198 {
		pods = append(pods, uuid.New())
	}
	for _, pod := range pods {
		r.set(husk.PodReport{PodID: pod, Event: husk.EventRunning})
		if err := r.runs.Begin(pod, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx) }()
	for end := time.Now().Add(10 * time.Second); r.runs.Pending() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	r.set(husk.PodReport{PodID: hostile, Event: husk.EventRunning, Message: "again"}) // run sends it when it ends
	stop()
	<-done
	if len(got.pods) != len(pods)-1 || len(got.runs) != len(pods)-1 {
		t.Errorf("the server has recorded %d reports and %d usage intervals of %d", len(got.pods), len(got.runs), len(pods))
	}
	if got.requests > 50 {
		t.Errorf("it took %d requests", got.requests)
	}
	if dropped := counted(t, r.refused); dropped != 3 {
		t.Errorf("the metric counts %v dropped items, want 2 reports and 1 usage interval", dropped)
	}
	if lines := strings.Count(log.String(), "dropped it"); lines != 2 {
		t.Errorf("want one line in the log per pod, got %d:\n%s", lines, log)
	}
}

func TestItemsThatTheServerNamesAreDroppedOrSentAgain(t *testing.T) {
	t.Parallel()
	pods := map[string]uuid.UUID{"refused": uuid.New(), "failing": uuid.New(), "valid": uuid.New()}
	var seen []map[string]bool // by request: which pods and runs
	r, _ := reportedTo(t, func(body openapi.StatusReport, w http.ResponseWriter) {
		result, these := openapi.ReportResult{Items: []openapi.ReportFailure{}}, map[string]bool{}
		for name, pod := range pods {
			for i, p := range body.Pods {
				if p.PodID == pod {
					these["pod "+name] = true
					if name != "valid" {
						result.Items = append(result.Items, openapi.ReportFailure{List: openapi.Pods, Index: i, Retry: name == "failing"})
					}
				}
			}
			for i, run := range openapi.Value(body.Runs) {
				if run.PodID == pod {
					these["run "+name] = true
					if name != "valid" {
						result.Items = append(result.Items, openapi.ReportFailure{List: openapi.Runs, Index: i, Retry: name == "failing"})
					}
				}
			}
		}
		seen = append(seen, these)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result)
	})
	for _, pod := range pods {
		r.set(husk.PodReport{PodID: pod, Event: husk.EventRunning})
		if err := r.runs.Begin(pod, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := r.send(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	want := []map[string]bool{
		{"pod refused": true, "run refused": true, "pod failing": true, "run failing": true, "pod valid": true, "run valid": true},
		{"pod failing": true, "run failing": true},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// The guest says which containers it has. Only those in the pod's spec are reported.
func TestOnlyContainersOfThePodAreReported(t *testing.T) {
	t.Parallel()
	from := []guest.ContainerStatus{{Name: "b", State: guest.StateRunning}, {Name: "stranger", State: guest.StateRunning}, {Name: "a", State: guest.StateWaiting}}
	got := translate.Statuses(from, husk.DesiredPod{Containers: []husk.DesiredContainer{{Name: "a"}, {Name: "b"}, {Name: "c"}}})
	want := []husk.ContainerStatus{{Name: "a", State: husk.ContainerWaiting, Ready: new(false)}, {Name: "b", State: husk.ContainerRunning, Ready: new(true)}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(husk.ContainerStatus{}, "ExitCode")); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}
