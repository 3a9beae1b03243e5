// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/server/deliver"
	"husk/store/desired"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/store"
)

// desiredSince requests what has changed after a revision, as an agent does.
func (s fixture) desiredSince(after int64) husk.DesiredState {
	s.t.Helper()
	return as[husk.DesiredState](s.t, s.call("GET", fmt.Sprintf("/v1/agent/desired?changes=true&after=%d", after), "", nil), 200)
}

// desiredWhole requests the whole state, as an agent of an earlier version does.
func (s fixture) desiredWhole() husk.DesiredState {
	s.t.Helper()
	return as[husk.DesiredState](s.t, s.call("GET", "/v1/agent/desired?after=-1", "", nil), 200)
}

// podsOf returns the pods of a state as JSON, sorted, because their sequence has no meaning.
func podsOf(state husk.DesiredState) []string {
	var all []string
	for _, p := range state.Pods {
		raw, _ := json.Marshal(p) //nolint:errchkjson // it came from JSON
		all = append(all, string(raw))
	}
	slices.Sort(all)
	return all
}

// deltaAgent is an agent that only gets changes.
type deltaAgent struct {
	t     testing.TB
	get   func(after int64) husk.DesiredState
	state husk.DesiredState
}

// follow applies changes until there are none.
func (f *deltaAgent) follow() {
	f.t.Helper()
	for {
		changes := f.get(f.state.Revision)
		if changes.Since == nil || *changes.Since != f.state.Revision {
			f.t.Fatalf("the changes after revision %d are %+v", f.state.Revision, changes)
		}
		if changes.Revision == f.state.Revision {
			return
		}
		f.state = f.state.With(changes)
	}
}

// randomChange does something that can change what a node should run.
func (s fixture) randomChange(r *rand.Rand, c tenancy, node store.ID) {
	s.t.Helper()
	ctx := s.t.Context()
	pods, err := allPages(func(p store.Page) ([]husk.Pod, string, error) {
		return s.db.Tenant(c.owner).Pods(ctx, p, store.Filter{})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(pods) < 4 || r.IntN(4) == 0 {
		s.createPod(c)
		return
	}
	pod := pods[r.IntN(len(pods))]
	report := func(event husk.PhaseEvent) {
		err = s.store.Report(ctx, node, []husk.PodReport{{PodID: pod.ID, Generation: pod.Generation, Event: event}})
	}
	switch event := r.IntN(8); {
	case pod.Status.Phase == husk.PhasePending && event < 6:
		err = s.placeIfFree(node, c, pod.ID)
	case event == 0:
		s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	case event == 1:
		_, err = s.store.Evict(ctx, 0, []store.Eviction{{Pod: store.PodKey{TenantID: c.id, ID: pod.ID}, Node: node}}, "Preempted", "")
	case event == 2:
		report(husk.EventSucceeded)
	case pod.Status.Phase == husk.PhaseStopping:
		report(husk.EventGone)
	default:
		report(husk.EventRunning)
	}
	if err != nil {
		s.t.Error(err)
	}
}

// placeIfFree places a pod and creates its key, unless another change of the node comes first.
func (s fixture) placeIfFree(node store.ID, c tenancy, pod uuid.UUID) error {
	capacities, err := s.store.NodeCapacities(s.t.Context())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(capacities, func(n store.NodeCapacity) bool { return n.ID == node })
	key := store.PodKey{TenantID: c.id, ID: pod}
	if _, err := s.store.CommitPlacements(s.t.Context(), 0, []store.Placement{{Pod: key, Node: node, NodeVersion: capacities[at].Version}}); err != nil {
		return err
	}
	return s.setKey(key)
}

// After any changes, the sum of what an agent gets is the whole state, even if the changes come in small parts.
func TestTheSumOfTheChangesIsTheDesiredState(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.largeTenant()
	node, agent := s.node()
	oneByOne := func(after int64) husk.DesiredState { // as from a server for which every change is too large
		stored, err := s.store.Desired(t.Context(), node, &after)
		if err != nil {
			t.Fatal(err)
		}
		state, err := deliver.States{Monitors: s.cfg.CephMonitors, VolumesPool: s.cfg.VolumesPool, NamesSuffix: "husk.internal", MaxBytes: 1, Log: s.cfg.Log}.Of(node, after, stored, nil, true)
		if err != nil || len(state.Pods)+len(state.RemovedPods) > 1 {
			t.Fatalf("the changes after revision %d are %+v: %v", after, state, err)
		}
		return roundTrip(t, state)
	}
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number is good
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the test repeats with the same seed
	often, rare := deltaAgent{t, agent.desiredSince, agent.desiredWhole()}, deltaAgent{t, oneByOne, agent.desiredWhole()}
	for step := range 120 {
		s.randomChange(r, c, node)
		often.follow()
		if step%30 == 29 {
			rare.follow()
		}
		whole := podsOf(agent.desiredWhole())
		if diff := cmp.Diff(whole, podsOf(often.state)); diff != "" {
			t.Fatalf("after step %d, the state (-whole +sum of changes):\n%s", step, diff)
		}
		if step%30 == 29 {
			if diff := cmp.Diff(whole, podsOf(rare.state)); diff != "" {
				t.Fatalf("after step %d, the state (-whole +sum of changes in small parts):\n%s", step, diff)
			}
		}
	}
	if len(often.state.Pods) == 0 {
		t.Error("no pod is on the node, so the test proves little")
	}
}

// roundTrip encodes and decodes a state.
func roundTrip(t *testing.T, state husk.DesiredState) (decoded husk.DesiredState) {
	t.Helper()
	raw, err := json.Marshal(state)
	if err == nil {
		err = json.Unmarshal(raw, &decoded)
	}
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// largeTenant returns a tenant that may have many pods.
func (s fixture) largeTenant() tenancy {
	s.t.Helper()
	c := s.tenant()
	quota := map[string]any{"pods": 1000, "addresses": 1000, "cpuMillis": 1_000_000, "memoryMiB": 1_000_000}
	as[openapi.Tenant](s.t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": quota}), 200)
	return c
}

// Nothing is lost if changes commit while an agent requests them.
func TestConcurrentChangesReachTheAgent(t *testing.T) {
	t.Parallel()
	s := open(t)
	node, agent := s.node()
	f := deltaAgent{t, agent.desiredSince, agent.desiredWhole()}
	var running sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		c := s.largeTenant()
		r := rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))) //nolint:gosec // any number is good
		running.Go(func() {
			for range 40 {
				s.randomChange(r, c, node)
			}
		})
	}
	go func() { running.Wait(); close(done) }()
	for busy := true; busy; {
		select {
		case <-done:
			busy = false
		default:
		}
		f.follow()
	}
	if diff := cmp.Diff(podsOf(agent.desiredWhole()), podsOf(f.state)); diff != "" {
		t.Errorf("the state (-whole +sum of changes):\n%s", diff)
	}
}

// An agent that names a revision that the server cannot compare with gets the whole state.
func TestAnAgentGetsTheWholeStateIfTheChangesAreUnknown(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	first := agent.desiredWhole()
	s.place(node, c, pod.ID)
	if got := agent.desiredSince(first.Revision); got.Since == nil || len(got.Pods) != 1 {
		t.Errorf("the changes are %+v", got)
	}
	if _, err := s.connect(store.RoleControl).Exec(t.Context(), "UPDATE desired_changes SET changed_at = changed_at - interval '61 minutes'"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.store.ForgetDesiredChanges(t.Context()); n != 1 || err != nil {
		t.Errorf("changes of %d nodes were forgotten: %v", n, err)
	}
	if got := agent.desiredSince(first.Revision); got.Since != nil || len(got.Pods) != 1 {
		t.Errorf("after the changes were forgotten, the response is %+v", got)
	}
	now := agent.desiredWhole().Revision
	if got := agent.desiredSince(now); got.Since == nil || len(got.Pods) != 0 || got.Revision != now {
		t.Errorf("without a change, the response is %+v", got)
	}
	if got := agent.desiredSince(now + 100); got.Since != nil || len(got.Pods) != 1 { // after the database was restored
		t.Errorf("after a revision of the future, the response is %+v", got)
	}
	if a := agent.call("GET", fmt.Sprintf("/v1/agent/desired?after=%d", first.Revision), "", nil); strings.Contains(a.body, "since") || len(as[husk.DesiredState](t, a, 200).Pods) != 1 {
		t.Errorf("an agent of an earlier version gets %s", a.body)
	}
}

// BenchmarkDesiredState measures what one change costs a node with 100 pods: the bytes of the response, and the time until it is complete.
func BenchmarkDesiredState(b *testing.B) {
	const onNode = 100
	s := open(b)
	c := s.largeTenant()
	node, agent := s.node()
	for range onNode {
		s.place(node, c, s.createPod(c).ID)
	}
	measure := func(changes string) (bytes int, took time.Duration) {
		for range 20 {
			pod := s.createPod(c)
			after := agent.desiredWhole().Revision
			s.place(node, c, pod.ID)
			began := time.Now()
			a := agent.call("GET", fmt.Sprintf("/v1/agent/desired?after=%d%s", after, changes), "", nil)
			took += time.Since(began)
			bytes = len(a.body)
			s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
			s.report(agent, pod.ID, 2, husk.EventGone)
		}
		return bytes, took / 20
	}
	whole, wholeTime := measure("")
	part, partTime := measure("&changes=true")
	fmt.Printf("\none new pod on a node with %d pods: %d bytes in %.1f ms; without changes, %d bytes in %.1f ms\n", onNode, part, 1000*partTime.Seconds(), whole, 1000*wholeTime.Seconds())
	b.ReportMetric(float64(part), "bytes/change")
	b.ReportMetric(float64(whole), "whole-bytes/change")
	b.ReportMetric(0, "ns/op")
}

// A key that cannot be opened any more, because its row is damaged, affects only its own pod. The machine of that pod may run, so the node
// still gets the pod.
func TestADamagedKeyAffectsOnlyItsPod(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	damaged, healthy := s.createPod(c), s.createPod(c)
	s.place(node, c, damaged.ID)
	s.place(node, c, healthy.ID)
	db, err := pgx.Connect(t.Context(), s.database(store.RoleControl))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if _, err := db.Exec(t.Context(), `UPDATE pods SET ceph_key = '\x00ff' WHERE id = $1`, damaged.ID); err != nil {
		t.Fatal(err)
	}
	state := as[openapi.DesiredState](t, agent.call("GET", "/v1/agent/desired", "", nil), 200)
	keys := map[uuid.UUID]string{}
	for _, p := range state.Pods {
		keys[p.ID] = p.Ceph.Key
	}
	if len(keys) != 2 || keys[damaged.ID] != "" || keys[healthy.ID] == "" {
		t.Errorf("the node gets pods with these keys: %v", keys)
	}
}

// Only the node that runs a pod, or receives it, can open the pod's encrypted disks.
func TestAPodThatDoesNotRunGetsNoPassphrase(t *testing.T) {
	t.Parallel()
	volume, snapshot := uuid.New(), uuid.New()
	pod := desired.Pod{
		Pod:       husk.Pod{ID: uuid.New(), Spec: husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: volume}, {Name: "s", SnapshotID: snapshot}}}},
		Volumes:   map[uuid.UUID]desired.Volume{volume: {Passphrase: "open"}},
		Snapshots: map[uuid.UUID]desired.Volume{snapshot: {Passphrase: "open"}}, Interfaces: []husk.Interface{{}},
	}
	for phase, want := range map[husk.Phase]husk.Secret{husk.PhaseStarting: "open", husk.PhaseRunning: "open", husk.PhaseStopping: "", husk.PhaseSucceeded: "", husk.PhaseFailed: ""} {
		pod.Pod.Status.Phase = phase
		got, err := deliver.States{}.Pod(pod)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got.Disks {
			if d.Passphrase != want {
				t.Errorf("a pod that is %s gets %q for disk %s", phase, string(d.Passphrase), d.Name)
			}
		}
		if len(got.Disks) != 2 {
			t.Errorf("a pod that is %s has the disks %+v", phase, got.Disks)
		}
	}
}

// A whole state that is too large for one response comes in parts, so that large pods of one tenant cannot keep a node from its desired
// state.
func TestALargeStateComesInParts(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, _ := s.node()
	want := map[uuid.UUID]bool{}
	for range 3 {
		pod := s.createPod(c)
		s.place(node, c, pod.ID)
		want[pod.ID] = true
	}
	states := deliver.States{Monitors: s.cfg.CephMonitors, VolumesPool: s.cfg.VolumesPool, NamesSuffix: "husk.internal", MaxBytes: 1, Log: s.cfg.Log}
	got := map[uuid.UUID]bool{}
	parts := 0
	for from := (*uuid.UUID)(nil); parts == 0 || from != nil; parts++ {
		stored, err := s.store.Desired(t.Context(), node, nil)
		if err != nil {
			t.Fatal(err)
		}
		state, err := states.Of(node, -1, stored, from, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range state.Pods {
			got[p.ID] = true
		}
		from = state.NextPod
	}
	if diff := cmp.Diff(want, got); diff != "" || parts != 3 {
		t.Errorf("%d parts have other pods (-want +got):\n%s", parts, diff)
	}
	stored, err := s.store.Desired(t.Context(), node, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := states.Of(node, -1, stored, nil, false)
	if err != nil || len(whole.Pods) != 3 || whole.NextPod != nil {
		t.Errorf("an agent of an earlier version gets %d pods and %v: %v", len(whole.Pods), whole.NextPod, err)
	}
}
