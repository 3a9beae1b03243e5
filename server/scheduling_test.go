// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/scheduler"
	"husk/server/control"
	"husk/store"
)

// addNode adds a node with this capacity and these settings. It has joined and is ready.
func (s fixture) addNode(cpu, memory int, settings map[string]any) openapi.Node {
	s.t.Helper()
	capabilities, _ := settings["capabilities"].([]string)
	delete(settings, "capabilities")
	id, agent := s.join(named("node"), map[string]any{})
	as[openapi.Lease](s.t, agent.call("POST", "/v1/agent/heartbeat", "", map[string]any{
		"capacity": map[string]any{"cpuMillis": cpu, "memoryMiB": memory}, "vmmOverheadMiB": 50, "endpoint": "https://192.0.2.7:7443",
		"capabilities": append([]string{}, capabilities...),
	}), 200)
	return as[openapi.Node](s.t, s.call("PATCH", "/v1/admin/nodes/"+id.String(), s.operator(), settings), 200)
}

// createPodWith creates a pod with labels and scheduling rules.
func (s fixture) createPodWith(c tenancy, cpu, memory int, labels map[string]any, scheduling map[string]any) openapi.Pod {
	s.t.Helper()
	body := c.body(named("pod"))
	body["labels"] = labels
	spec, _ := body["spec"].(map[string]any)
	spec["resources"] = map[string]any{"cpuMillis": cpu, "memoryMiB": memory}
	spec["scheduling"] = scheduling
	return as[openapi.Pod](s.t, s.call("POST", "/v1/pods", c.token, body), 201)
}

func (s fixture) pass(p control.Pass) {
	s.t.Helper()
	for range 3 {
		err := p(s.t.Context(), 0)
		if err == nil {
			return
		}
		if !errors.Is(err, control.ErrMore) {
			s.t.Fatal(err)
		}
	}
}

func (s fixture) pod(c tenancy, id uuid.UUID) openapi.Pod {
	s.t.Helper()
	return as[openapi.Pod](s.t, s.call("GET", "/v1/pods/"+id.String(), c.token, nil), 200)
}

// The responses to a tenant and to an operator for each reason why a pod is not placed.
func TestAPodThatIsNotPlacedShowsTheReason(t *testing.T) {
	t.Parallel()
	type node struct {
		cpu, memory int
		settings    map[string]any
	}
	plain := map[string]any{"labels": map[string]any{"zone": "east"}}
	for _, x := range []struct {
		reason     scheduler.Reason
		message    string
		nodes      []node
		labels     map[string]any
		scheduling map[string]any
		twice      bool // the test first creates another pod with the same rules
		check      func(r openapi.PlacementRefusal) bool
	}{
		{
			reason: scheduler.NoNode, message: "no node is ready", nodes: []node{{8000, 8192, map[string]any{"cordoned": true}}},
			check: func(r openapi.PlacementRefusal) bool { return *r.NotReady == 1 },
		},
		{
			reason: scheduler.NotSelected, message: "no eligible node: the nodes lack a required label", nodes: []node{{8000, 8192, plain}},
			scheduling: map[string]any{"nodeSelector": map[string]any{"zone": "west"}}, check: func(r openapi.PlacementRefusal) bool { return *r.NotSelected == 1 },
		},
		{
			reason: scheduler.NotTolerated, message: "no eligible node: the nodes have a taint that is not tolerated", nodes: []node{{8000, 8192, map[string]any{"taints": []string{"gpu=yes"}}}},
			scheduling: map[string]any{"tolerations": []string{"gpu"}}, check: func(r openapi.PlacementRefusal) bool { return *r.NotTolerated == 1 },
		},
		{
			reason: scheduler.Crowded, message: "no eligible node: the nodes are excluded by the affinity rules of pods", nodes: []node{{8000, 8192, plain}}, twice: true,
			labels: map[string]any{"app": "db"}, scheduling: map[string]any{"rules": []any{map[string]any{"kind": "AntiAffinity", "label": "app", "topologyKey": "zone"}}},
			check: func(r openapi.PlacementRefusal) bool { return *r.Crowded == 1 },
		},
		{
			reason: scheduler.InsufficientCPU, message: "insufficient cpu on every eligible node, even if the nodes were empty; other nodes lack a required label",
			nodes: []node{{500, 8192, plain}, {8000, 8192, map[string]any{}}}, scheduling: map[string]any{"nodeSelector": map[string]any{"zone": "east"}},
			check: func(r openapi.PlacementRefusal) bool {
				return *r.LackCPU == 1 && r.NearestLacks.CPUMillis == 500 && r.NearestLacks.MemoryMiB == 0 && r.NeverFits
			},
		},
		{
			reason: scheduler.InsufficientMemory, message: "insufficient memory on every eligible node", nodes: []node{{8000, 1700, plain}}, twice: true,
			check: func(r openapi.PlacementRefusal) bool {
				return *r.LackMemory == 1 && r.WouldMakeRoom != nil && len(*r.WouldMakeRoom) == 1
			},
		},
		{
			reason: scheduler.Insufficient, message: "no eligible node has enough free cpu, memory and disk space at the same time, even if the nodes were empty", nodes: []node{{500, 8192, plain}, {8000, 500, plain}},
			check: func(r openapi.PlacementRefusal) bool { return *r.LackCPU == 1 && *r.LackMemory == 1 },
		},
		{
			reason: scheduler.GangIncomplete, message: "this pod fits, but not all pods of its gang fit at the same time", nodes: []node{{1500, 8192, plain}}, twice: true,
			scheduling: map[string]any{"gang": map[string]any{"name": "train", "size": 2}}, check: func(openapi.PlacementRefusal) bool { return true },
		},
	} {
		t.Run(string(x.reason), func(t *testing.T) {
			t.Parallel()
			s := open(t)
			c, stranger := s.tenant(), s.tenant()
			for _, n := range x.nodes {
				s.addNode(n.cpu, n.memory, n.settings)
			}
			if x.labels == nil {
				x.labels = map[string]any{}
			}
			if x.scheduling == nil {
				x.scheduling = map[string]any{}
			}
			if x.twice {
				s.createPodWith(c, 1000, 1000, x.labels, x.scheduling)
			}
			pod := s.createPodWith(c, 1000, 1000, x.labels, x.scheduling)
			path := "/v1/pods/" + pod.ID.String() + "/placement"
			if p := as[openapi.Placement](t, s.call("GET", path, c.token, nil), 200); p.Outcome != "Undecided" {
				t.Errorf("before the first scheduling pass the response is %+v", p)
			}
			s.pass(s.loops.Passes()["schedule"])
			if st := s.pod(c, pod.ID).Status; *st.Reason != string(x.reason) || *st.Message != x.message {
				t.Errorf("the pod has the reason %s: %s", *st.Reason, *st.Message)
			}
			own := as[openapi.Placement](t, s.call("GET", path, c.token, nil), 200)
			if own.Outcome != "Refused" || string(*own.Reason) != string(x.reason) || *own.Message != x.message || own.Attempts != 1 || own.NextTryAt == nil {
				t.Errorf("its tenant gets %+v", own)
			}
			if diff := cmp.Diff(openapi.PlacementRefusal{NeverFits: own.Refusal.NeverFits, WouldMakeRoom: own.Refusal.WouldMakeRoom}, *own.Refusal); diff != "" {
				t.Errorf("the response to the tenant shows the number or the usage of nodes: %s", diff)
			}
			all := as[openapi.Placement](t, s.call("GET", "/v1/admin/tenants/"+c.id.String()+path[len("/v1"):], s.operator(), nil), 200)
			if !x.check(*all.Refusal) || *all.Refusal.Nodes != len(x.nodes) {
				t.Errorf("an operator gets %+v", all.Refusal)
			}
			wantProblem(t, s.call("GET", path, stranger.token, nil), 404, husk.CodeNotFound, "")
		})
	}
}

func TestThePlacementOfAPodIsExplained(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node := s.addNode(8000, 8192, map[string]any{})
	pod := s.createPodWith(c, 1000, 1000, map[string]any{}, map[string]any{})
	s.pass(s.loops.Passes()["schedule"])
	path := "/pods/" + pod.ID.String() + "/placement"
	own := as[openapi.Placement](t, s.call("GET", "/v1"+path, c.token, nil), 200)
	if own.Outcome != "Placed" || *own.NodeName != node.Name || own.Score != nil || own.DecidedAt == nil {
		t.Errorf("its tenant gets %+v", own)
	}
	all := as[openapi.Placement](t, s.call("GET", "/v1/admin/tenants/"+c.id.String()+path, s.operator(), nil), 200)
	if all.Score == nil || !all.Score.OpenedNode || all.Score.LeftFree <= 0 {
		t.Errorf("an operator gets %+v", all.Score)
	}
}

// A refusal lists the pods that block the placement to a tenant only if they are its own.
func TestRefusalsDoNotRevealOtherTenants(t *testing.T) {
	t.Parallel()
	for _, foreign := range []bool{false, true} {
		s := open(t)
		c, other := s.tenant(), s.tenant()
		s.addNode(2000, 8192, map[string]any{})
		before := c
		if foreign {
			before = other
		}
		first := s.createPodWith(before, 1500, 1000, map[string]any{}, map[string]any{})
		p := s.loops.Passes()["schedule"]
		s.pass(p)
		pod := s.createPodWith(c, 1500, 1000, map[string]any{}, map[string]any{})
		s.pass(p)
		path := "/pods/" + pod.ID.String() + "/placement"
		own := as[openapi.Placement](t, s.call("GET", "/v1"+path, c.token, nil), 200)
		if listed := own.Refusal.WouldMakeRoom != nil; listed == foreign {
			t.Errorf("foreign is %v, and the tenant gets %+v", foreign, own.Refusal)
		}
		all := as[openapi.Placement](t, s.call("GET", "/v1/admin/tenants/"+c.id.String()+path, s.operator(), nil), 200)
		if all.Refusal.WouldMakeRoom == nil || (*all.Refusal.WouldMakeRoom)[0].ID != first.ID {
			t.Errorf("the operator gets %+v", all.Refusal)
		}
	}
}

// A pod with a higher priority preempts a pod with a lower one. It waits for the capacity and gets
// it, even if a pod with a lower priority would fit earlier. The preempted pod starts again when
// other capacity is free.
func TestAHigherPriorityPreemptsALowerOne(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	if a := s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"priority": 10}}); a.status != 200 {
		t.Fatal(a.body)
	}
	none := map[string]any{}
	s.addNode(2000, 8192, none)
	p := s.loops.Passes()["schedule"]
	low := s.createPodWith(c, 1500, 1000, none, none)
	s.pass(p)
	first := s.pod(c, low.ID)
	urgent := s.createPodWith(c, 2000, 1000, none, map[string]any{"priority": 10})
	small := s.createPodWith(c, 500, 100, none, none)
	for range 3 { // no pod is stopped twice, and free capacity is reserved for the urgent pod
		s.pass(p)
	}
	if got := s.pod(c, low.ID).Status; got.Phase != "Stopping" || *got.Reason != "Preempted" {
		t.Errorf("the pod with the lower priority is %+v", got)
	}
	if got := s.pod(c, urgent.ID).Status; got.Phase != "Pending" || *got.Reason != string(scheduler.Preempting) {
		t.Errorf("the pod with the higher priority is %+v", got)
	}
	if got := s.pod(c, small.ID).Status; got.Phase != "Pending" {
		t.Errorf("a pod with a lower priority took the reserved capacity: %+v", got)
	}
	capacities, err := s.store.NodeCapacities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := []husk.PodReport{{PodID: low.ID, Generation: first.Generation + 1, Event: husk.EventGone}}
	if err := s.store.Report(t.Context(), capacities[0].ID, gone); err != nil {
		t.Fatal(err)
	}
	s.pass(p)
	if got := s.pod(c, urgent.ID).Status; got.Phase != "Starting" {
		t.Errorf("the pod with the higher priority is %+v", got)
	}
	s.addNode(8000, 8192, none)
	s.pass(p)
	s.pass(p)
	for _, id := range []uuid.UUID{low.ID, small.ID} {
		if got := s.pod(c, id).Status; got.Phase != "Starting" {
			t.Errorf("with more capacity a pod is %+v", got)
		}
	}
	events := as[openapi.EventList](t, s.call("GET", "/v1/events?objectId="+low.ID.String(), c.token, nil), 200).Items
	var reasons []string
	for _, e := range events {
		reasons = append(reasons, e.Reason)
	}
	if got := strings.Join(reasons, " "); got != "Accepted Placed Preempted Requeued Placed" {
		t.Errorf("its events are %s", got)
	}
}

func TestRulesHoldOverPodsThatWerePlacedBefore(t *testing.T) {
	t.Parallel()
	s := open(t)
	c, other := s.tenant(), s.tenant()
	none := map[string]any{}
	for _, zone := range []string{"east", "west"} {
		s.addNode(8000, 8192, map[string]any{"labels": map[string]any{"zone": zone}})
	}
	app := map[string]any{"app": "db"}
	apart := map[string]any{"rules": []any{map[string]any{"kind": "AntiAffinity", "label": "app", "topologyKey": "zone"}}}
	p := s.loops.Passes()["schedule"]
	s.createPodWith(c, 1000, 1000, app, none) // has no rules, but counts for the rules of other pods
	s.createPodWith(other, 1000, 1000, app, none)
	s.pass(p)
	second := s.createPodWith(c, 1000, 1000, app, apart)
	s.pass(p)
	s.pass(s.loops.Passes()["schedule"]) // a new leader applies the same rules
	third := s.createPodWith(c, 1000, 1000, app, none)
	fourth := s.createPodWith(c, 1000, 1000, none, map[string]any{"rules": []any{map[string]any{"kind": "Affinity", "label": "app", "value": "db", "topologyKey": "zone"}}})
	s.pass(s.loops.Passes()["schedule"])
	at := func(id uuid.UUID) string {
		if n := s.pod(c, id).Status.NodeName; n != nil {
			return *n
		}
		return ""
	}
	if at(second.ID) == "" || at(third.ID) == "" || at(third.ID) == at(second.ID) || at(fourth.ID) == "" {
		t.Errorf("the pod with anti-affinity is on %q, the one that it excludes on %q, and the one with affinity on %q", at(second.ID), at(third.ID), at(fourth.ID))
	}
}

func TestADefragmentationIsProposedAndThenPerformed(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	none := map[string]any{}
	p := s.loops.Passes()["schedule"]
	first := s.addNode(4000, 8192, none)
	one := s.createPodWith(c, 1000, 1000, none, none)
	s.pass(p)
	s.call("PATCH", "/v1/admin/nodes/"+first.ID.String(), s.operator(), map[string]any{"cordoned": true})
	second := s.addNode(4000, 8192, none)
	s.createPodWith(c, 2000, 1000, none, none)
	s.createPodWith(c, 500, 100, none, none)
	s.pass(p)
	s.call("PATCH", "/v1/admin/nodes/"+first.ID.String(), s.operator(), map[string]any{"cordoned": false})
	plan := as[openapi.Defragmentation](t, s.call("POST", "/v1/admin/defragmentation", s.operator(), none), 201)
	if !plan.DryRun || plan.Moves != 1 || len(plan.Freed) != 1 || plan.Freed[0].NodeID != first.ID || plan.Freed[0].Moves[0].ToNodeName != second.Name || plan.Gain.CPUMillis != 4000 {
		t.Fatalf("the proposed plan is %+v", plan)
	}
	if got := s.pod(c, one.ID).Status.Phase; got != "Starting" {
		t.Errorf("a dry run made the pod %s", got)
	}
	if elsewhere := as[openapi.Defragmentation](t, s.call("POST", "/v1/admin/defragmentation", s.operator(), map[string]any{"pool": "other"}), 201); elsewhere.Moves != 0 {
		t.Errorf("the plan for another pool is %+v", elsewhere)
	}
	as[openapi.Defragmentation](t, s.call("POST", "/v1/admin/defragmentation", s.operator(), map[string]any{"dryRun": false}), 201)
	path := "/v1/admin/nodes/" + first.ID.String()
	if n := as[openapi.Node](t, s.call("GET", path, s.operator(), nil), 200); !n.Cordoned || n.Drain == nil || *n.Drain != openapi.NodeDrainDraining {
		t.Errorf("the node that is being drained is %+v", n)
	}
	drains := s.loops.Passes()["drains"]
	s.pass(drains)
	d := as[openapi.Drain](t, s.call("GET", path+"/drain", s.operator(), nil), 200)
	if d.Pods != 1 || d.Moving != 0 || len(d.Blocked) != 1 || !strings.Contains(d.Blocked[0].Message, "required label") {
		t.Errorf("agents that cannot start a pod elsewhere do so: %+v", d)
	}
	third := s.addNode(4000, 8192, map[string]any{"capabilities": []string{husk.CapabilityMoves}})
	if err := s.setKey(store.PodKey{TenantID: c.id, ID: one.ID}); err != nil {
		t.Fatal(err)
	}
	if m := as[openapi.Move](t, s.call("PUT", "/v1/admin/tenants/"+c.id.String()+"/pods/"+one.ID.String()+"/move", s.operator(), none), 200); m.ToNodeName != third.Name || m.Live {
		t.Errorf("the move is %+v", m)
	}
	d = as[openapi.Drain](t, s.call("GET", path+"/drain", s.operator(), nil), 200)
	if d.Pods != 1 || d.Moving != 1 || len(d.Blocked) != 0 {
		t.Errorf("the drain is %+v", d)
	}
	as[openapi.Node](t, s.call("PATCH", path, s.operator(), map[string]any{"cordoned": false}), 200)
	as[openapi.Problem](t, s.call("GET", path+"/drain", s.operator(), nil), 404)
}
