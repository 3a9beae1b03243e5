// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"husk"
)

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
