// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
)

// After many changes, the index that the scheduler updates in each pass equals an index that is
// rebuilt from the database.
func TestTheUpdatedIndexEqualsARebuiltOne(t *testing.T) {
	t.Parallel()
	f := open(t)
	log := slog.New(slog.DiscardHandler)
	s := &scheduling{store: f.Control, log: log, metrics: newMetrics(prometheus.NewRegistry()), index: newIndex(f.Control, log)}
	pass := func() {
		t.Helper()
		for range 3 {
			err := s.pass(t.Context(), 0)
			if err == nil {
				return
			}
			if !errors.Is(err, ErrMore) {
				t.Fatal(err)
			}
		}
	}
	var nodes []husk.Node
	for _, zone := range []string{"a", "b", "c", "d"} {
		nodes = append(nodes, f.node("node-"+zone, husk.Resources{CPUMillis: 4000, MemoryMiB: 8192}, map[string]string{"zone": zone}))
	}
	var pods []husk.Pod
	for i := range 12 {
		var scheduling *husk.Scheduling
		if i > 6 {
			scheduling = &husk.Scheduling{Rules: []husk.SchedulingRule{{Kind: husk.RuleSpread, Label: "app", TopologyKey: "zone", MaxSkew: 1}}}
		}
		pods = append(pods, f.pod(i, husk.Resources{CPUMillis: 500, MemoryMiB: 500}, map[string]string{"app": "web"}, scheduling))
		if i%3 == 0 {
			pass()
		}
	}
	pass()
	for i, pod := range pods[:6] {
		_, err := f.tenant.DeletePod(t.Context(), pod.ID)
		must(t, err)
		for _, n := range nodes { // only the report of the pod's own node has an effect
			if i%2 == 0 {
				must(t, f.Report(t.Context(), n.ID, []husk.PodReport{{PodID: pod.ID, Generation: 2, Event: husk.EventGone}}))
			}
		}
	}
	_, err := f.UpdateNode(t.Context(), nodes[0].ID, func(s husk.NodeSettings) husk.NodeSettings { s.Cordoned = true; return s })
	must(t, err)
	state := func(x *index) map[string]any {
		t.Helper()
		_, err := x.sync(context.WithoutCancel(t.Context()))
		must(t, err)
		m := map[string]any{}
		for _, n := range x.nodes {
			m[n.node.Name] = []any{x.fleet.Free(n.at), n.stale, len(n.pods)}
		}
		for key, pod := range x.pods {
			m[key.ID.String()] = []any{x.fleet.Node(x.fleet.NodeOf(pod.handle)), pod.leaving, x.fleet.Size(pod.handle)}
		}
		m["keys"] = len(x.keys)
		m["ruled"] = slices.Collect(maps.Keys(x.ruled))
		return m
	}
	kept := state(s.index)
	if s.index.rebuilt {
		t.Error("the index was rebuilt although no node has changed")
	}
	if n := len(s.index.pods); n != 9 {
		t.Errorf("the index has %d pods, want 9", n)
	}
	if diff := cmp.Diff(state(newIndex(f.Control, log)), kept); diff != "" {
		t.Errorf("the index (-rebuilt +updated):\n%s", diff)
	}
}
