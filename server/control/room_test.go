// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/store"
)

// Small pods use a large node, and small nodes are empty. A large pod waits, and the small pods move if the server may move them.
func TestPodsMoveForALargePodThatWaits(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{0: 0, 2: 0, 3: 3} {
		f := open(t)
		s := newScheduling(f.Control, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()), most)
		pass := func() {
			t.Helper()
			for range 3 {
				if err := s.pass(t.Context(), 0); err == nil {
					return
				} else if !errors.Is(err, ErrMore) {
					t.Fatal(err)
				}
			}
		}
		add := func(name string, size husk.Resources) husk.Node {
			t.Helper()
			n := f.node(name, size, map[string]string{})
			_, _, err := f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{
				ID: n.ID, Capacity: size, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443", Capabilities: []string{husk.CapabilityMoves, husk.CapabilityLiveMigration},
			}})
			must(t, err)
			return n
		}
		large := add("large", husk.Resources{CPUMillis: 16_000, MemoryMiB: 65_536})
		var small []husk.Pod
		for i := range 4 {
			small = append(small, f.pod(i, husk.Resources{CPUMillis: 4000, MemoryMiB: 8192}, map[string]string{}, nil))
		}
		pass()
		for _, pod := range small {
			key := store.PodKey{TenantID: f.id, ID: pod.ID}
			_, number, err := f.PodToKey(t.Context(), store.Work{TenantID: f.id, ObjectID: pod.ID})
			must(t, err)
			must(t, f.SetPodKeys(t.Context(), map[store.PlacementKey]string{{PodKey: key, Number: number}: "key"}))
			must(t, f.Report(t.Context(), large.ID, []husk.PodReport{{PodID: pod.ID, Generation: 1, Event: husk.EventRunning}}))
		}
		for _, name := range []string{"a", "b", "c"} {
			add(name, husk.Resources{CPUMillis: 4000, MemoryMiB: 16_384})
		}
		f.pod(9, husk.Resources{CPUMillis: 10_000, MemoryMiB: 8192}, map[string]string{}, nil)
		pass()
		moves, err := f.Moves().Open(t.Context())
		must(t, err)
		if len(moves) != want {
			t.Errorf("at most %d moves: %d are under way, want %d: %+v", most, len(moves), want, moves)
		}
		to := map[store.ID]int{}
		for _, m := range moves {
			to[m.NodeID]++
			if !m.Live {
				t.Errorf("pod %s is restarted for another one", m.PodID)
			}
		}
		if _, stays := to[large.ID]; stays || len(to) != want {
			t.Errorf("the pods move to %v", to)
		}
		// The next pods do not begin more moves as long as these are under way.
		f.pod(10, husk.Resources{CPUMillis: 10_000, MemoryMiB: 8192}, map[string]string{}, nil)
		pass()
		again, err := f.Moves().Open(t.Context())
		must(t, err)
		if diff := cmp.Diff(len(moves), len(again)); diff != "" {
			t.Errorf("moves (-before +after): %s", diff)
		}
	}
}
