// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/store"
)

// After many changes, the index that the scheduler updates in each pass equals an index that is
// rebuilt from the database.
func TestTheUpdatedIndexEqualsARebuiltOne(t *testing.T) {
	t.Parallel()
	f := open(t)
	s := f.scheduling()
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
	// A node gets more memory, one gets other labels, and one is deleted.
	_, _, err = f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{ID: nodes[1].ID, Capacity: husk.Resources{CPUMillis: 4000, MemoryMiB: 10_000}, VMMOverheadMiB: 60, Endpoint: "https://192.0.2.7:7443"}})
	must(t, err)
	_, err = f.UpdateNode(t.Context(), nodes[2].ID, func(s husk.NodeSettings) husk.NodeSettings { s.Labels = map[string]string{"zone": "z"}; return s })
	must(t, err)
	spare := f.node("node-e", husk.Resources{CPUMillis: 100, MemoryMiB: 100}, map[string]string{})
	pass()
	must(t, f.DeleteNode(t.Context(), spare.ID))
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
		t.Error("the index was rebuilt, not only updated")
	}
	if n := len(s.index.pods); n != 9 {
		t.Errorf("the index has %d pods, want 9", n)
	}
	if diff := cmp.Diff(state(f.scheduling().index), kept); diff != "" {
		t.Errorf("the index (-rebuilt +updated):\n%s", diff)
	}
}

// A change of one node costs the reading of that node's pods, not of all pods.
func TestAChangedNodeIsUpdatedAlone(t *testing.T) {
	t.Parallel()
	f := open(t)
	s := f.scheduling()
	small := husk.Resources{CPUMillis: 1000, MemoryMiB: 1000}
	first, second := f.node("node-a", small, map[string]string{}), f.node("node-b", small, map[string]string{})
	f.pod(1, husk.Resources{CPUMillis: 800, MemoryMiB: 800}, map[string]string{}, nil)
	f.pod(2, husk.Resources{CPUMillis: 800, MemoryMiB: 800}, map[string]string{}, nil)
	must(t, s.pass(t.Context(), 0))
	for i := range 3 {
		node, other := first, second
		if i%2 == 1 {
			node, other = second, first
		}
		was := maps.Clone(s.index.nodes[other.ID].pods)
		handles := maps.Clone(s.index.pods)
		_, _, err := f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{ID: node.ID, Capacity: husk.Resources{CPUMillis: 2000 + i, MemoryMiB: 2000}, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443"}})
		must(t, err)
		_, err = s.index.sync(t.Context())
		must(t, err)
		if s.index.rebuilt || !slices.Equal(s.index.changed, []store.ID{node.ID}) {
			t.Fatalf("rebuilt: %v; changed: %v, want %s", s.index.rebuilt, s.index.changed, node.ID)
		}
		for key := range was {
			if s.index.pods[key] != handles[key] {
				t.Errorf("the pod %s of the other node was read again", key.ID)
			}
		}
		if free := s.index.fleet.Free(s.index.nodes[node.ID].at); free.CPUMillis != 1200+i || free.MemoryMiB != 1150 {
			t.Errorf("the changed node has %+v free", free)
		}
	}
	// The new capacity wakes a pod that did not fit.
	big := f.pod(3, husk.Resources{CPUMillis: 5000, MemoryMiB: 1000}, map[string]string{}, nil)
	must(t, s.pass(t.Context(), 0))
	_, _, err := f.Heartbeat(t.Context(), store.Beat{Node: husk.Node{ID: first.ID, Capacity: husk.Resources{CPUMillis: 8000, MemoryMiB: 8000}, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443"}})
	must(t, err)
	for range 2 {
		if err := s.pass(t.Context(), 0); err != nil && !errors.Is(err, ErrMore) {
			t.Fatal(err)
		}
	}
	if now, err := f.tenant.Pod(t.Context(), big.ID); err != nil || now.Status.Phase != husk.PhaseStarting {
		t.Errorf("the pod is %+v: %v", now.Status, err)
	}
}
