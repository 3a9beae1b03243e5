// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/names"
	"husk/nodeagent/network"
)

// lines is what a logger has written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// noNames returns the name servers of a node without networks.
func noNames(t *testing.T) *names.Set {
	t.Helper()
	set, err := names.Open(t.TempDir(), names.Config{Metrics: names.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A newer server may send instructions that this agent does not know. The agent has no libvirt here, so any attempt to start or end a
// machine would fail.
func TestAnUnknownInstructionChangesNothing(t *testing.T) {
	t.Parallel()
	var out lines
	a := &Agent{cfg: Config{StateDir: t.TempDir()}, log: slog.New(slog.NewTextHandler(&out, nil))}
	a.reports, a.net, a.names = newReporter(nil, nil, a.log), &network.Network{}, noNames(t)
	a.metrics = newMetrics(a)
	w := newWorker(t.Context(), a, husk.DesiredPod{ID: uuid.UUID{1}, Generation: 2, State: "Hibernating"})
	go w.run()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), "Hibernating"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the agent does not say that it does not know the state:\n%s", out.String())
		}
	}
	w.cancel()
	<-w.done
	page := httptest.NewRecorder()
	a.metrics.handler.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if want := "\nhusk_agent_unknown_instructions_total 1\n"; !strings.Contains(page.Body.String(), want) {
		t.Errorf("want %q in\n%s", want, page.Body)
	}
	if log := out.String(); strings.Contains(log, "retrying") {
		t.Errorf("the agent did something:\n%s", log)
	}
}

// The agent passes the complete desired state to its workers every few seconds. If that woke a worker, the worker would no longer wait for
// what it waits for: the guest's response, or the time of the next start.
func TestAWorkerIsWokenOnlyByAChange(t *testing.T) {
	t.Parallel()
	a := &Agent{cfg: Config{StateDir: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	pod := func(change func(*husk.DesiredPod)) husk.DesiredPod {
		p := husk.DesiredPod{ID: uuid.UUID{1}, Generation: 2, State: husk.DesiredRunning, Containers: []husk.DesiredContainer{{Name: "main", Args: []string{"a"}}}}
		change(&p)
		return p
	}
	same := func(*husk.DesiredPod) {}
	for _, c := range []struct {
		name   string
		change func(*husk.DesiredPod)
		want   bool
	}{
		{"the same", same, false},
		{"another state", func(p *husk.DesiredPod) { p.State = husk.DesiredGone }, true},
		{"another generation", func(p *husk.DesiredPod) { p.Generation = 3 }, true},
		{"an older generation", func(p *husk.DesiredPod) { p.Generation = 1; p.State = husk.DesiredGone }, false},
		{"a change inside", func(p *husk.DesiredPod) { p.Containers[0].Args = []string{"b"} }, true},
	} {
		w := newWorker(t.Context(), a, pod(same))
		w.tell(pod(c.change))
		select {
		case <-w.wake:
			if !c.want {
				t.Errorf("%s: the worker was woken", c.name)
			}
		default:
			if c.want {
				t.Errorf("%s: the worker was not woken", c.name)
			}
		}
		if got, _ := w.current(); c.want != (got.State != husk.DesiredRunning || got.Generation != 2 || got.Containers[0].Args[0] != "a") {
			t.Errorf("%s: the worker's desired state is %+v", c.name, got)
		}
		w.cancel()
	}
}
