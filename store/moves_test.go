// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/store"
	"husk/store/desired"
	"husk/store/moves"
)

// moveFixture is a pod that runs on the first of two nodes.
type moveFixture struct {
	fixture
	from, to husk.Node
	pod      husk.Pod
	live     bool
}

// movable returns a pod that runs on a node. With volumes, its Ceph clients are known.
func movable(t *testing.T, volumes int) moveFixture {
	t.Helper()
	h := open(t)
	tenant := h.tenant()
	var vs []husk.Volume
	for range volumes {
		vs = append(vs, h.volume(tenant))
	}
	m := moveFixture{fixture: h, from: h.node(4), to: h.node(4), live: volumes > 0}
	m.pod = h.createPod(tenant, specOf(h.image(tenant), vs...))
	h.place(m.from.ID, m.pod)
	h.report(m.from.ID, m.pod, husk.EventRunning)
	if volumes > 0 {
		h.exec("UPDATE placements SET clients = '{192.0.2.7:0/1}', clients_at = now()")
	}
	return m
}

func (h fixture) exec(sql string) {
	h.t.Helper()
	_, err := h.connect(store.RoleControl).Exec(h.t.Context(), sql)
	must(h.t, 0, err)
}

// begin begins the move and reports whether it did.
func (m moveFixture) begin(live bool) bool {
	m.t.Helper()
	epoch := m.epoch()
	ok, err := m.Moves().Begin(m.t.Context(), &epoch, moves.Start{
		TenantID: m.pod.TenantID, PodID: m.pod.ID, From: m.from.ID, To: m.to.ID, ToVersion: m.version(m.to.ID), FromName: m.from.Name, ToName: m.to.Name, Live: live,
	})
	return must(m.t, ok, err)
}

// began begins the move and creates its key.
func (m moveFixture) began() {
	m.t.Helper()
	if !m.begin(m.live) {
		m.t.Fatal("the move does not begin")
	}
	if err := m.setKey(keyOf(m.pod), "key of the second placement"); err != nil {
		m.t.Fatal(err)
	}
}

func (m moveFixture) says(node husk.Node, placement int64, e husk.PhaseEvent) {
	m.t.Helper()
	generation := queryOne[int64](m.fixture, store.RoleControl, "SELECT coalesce(max(generation), 0) FROM pods WHERE id = $1", m.pod.ID)
	if err := m.Report(m.t.Context(), node.ID, []husk.PodReport{{PodID: m.pod.ID, Placement: placement, Generation: generation, Event: e}}); err != nil {
		m.t.Fatal(err)
	}
}

func (m moveFixture) decide(node husk.Node, cancel string) moves.Outcome {
	m.t.Helper()
	is, err := m.Moves().Decide(m.t.Context(), node.ID, m.pod.ID, 2, cancel)
	return must(m.t, is, err)
}

// is compares everything that a move changes: the pod, its placements, what the nodes have to do, and how many pods are allocated on each.
func (m moveFixture) is(when string, want ...string) {
	m.t.Helper()
	got := []string{string(m.phase(m.pod))}
	rows, err := m.connect(store.RoleControl).Query(m.t.Context(), "SELECT number, role, node_id, gone FROM placements ORDER BY number")
	must(m.t, rows, err)
	for rows.Next() {
		var number int64
		var role string
		var node store.ID
		var gone bool
		must(m.t, 0, rows.Scan(&number, &role, &node, &gone))
		text := fmt.Sprintf("%d %s on %s", number, role, m.name(node))
		if gone {
			text += " gone"
		}
		got = append(got, text)
	}
	for _, n := range []husk.Node{m.from, m.to} {
		text := fmt.Sprintf("%s has %d:", m.name(n.ID), m.getNode(n.ID).Allocated.CPUMillis/small.CPUMillis)
		whole, err := m.Desired(m.t.Context(), n.ID, nil)
		must(m.t, whole, err)
		zero := int64(0)
		changes, err := m.Desired(m.t.Context(), n.ID, &zero)
		must(m.t, changes, err)
		for _, c := range whole.Changes {
			text += fmt.Sprintf(" %d %s", c.Pod.Placement, c.Pod.Pod.Status.Phase)
			if c.Pod.Move.Incoming {
				text += " incoming"
			}
			if c.Pod.Move.From != nil {
				text += " from " + m.name(c.Pod.Move.From.Node)
			}
			if c.Pod.Move.To != nil {
				text += fmt.Sprintf(" to %d on %s", c.Pod.Move.To.Placement, m.name(c.Pod.Move.To.Node))
			}
		}
		for _, c := range changes.Changes { // the sum of the changes is the whole state
			same := slices.ContainsFunc(whole.Changes, func(w desired.Change) bool { return w.PodID == c.PodID })
			if same != (c.Pod != nil) {
				text += " (the changes differ)"
			}
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	free := map[store.ID]int{}
	placed, err := m.PlacedPods(m.t.Context(), []store.ID{m.from.ID, m.to.ID})
	must(m.t, placed, err)
	ids := map[store.ID]bool{}
	for _, p := range placed {
		free[p.Node] += p.Size.MemoryMiB + p.Overhead
		if ids[p.ID] {
			m.t.Errorf("%s, the scheduler sees one pod twice", when)
		}
		ids[p.ID] = true
	}
	for _, n := range []husk.Node{m.from, m.to} {
		if got := m.getNode(n.ID).Allocated.MemoryMiB; got != free[n.ID] {
			m.t.Errorf("%s, %s has %d MiB allocated, and its pods have %d", when, m.name(n.ID), got, free[n.ID])
		}
	}
}

func (m moveFixture) name(node store.ID) string {
	if node == m.from.ID {
		return "A"
	}
	return "B"
}

func (m moveFixture) keys() string {
	m.t.Helper()
	holders, err := m.KeyHolders(m.t.Context(), &m.pod.ID)
	must(m.t, holders, err)
	var names []string
	for i := range int64(4) {
		if holders[husk.KeyHolder(m.pod.ID, i+1)] {
			names = append(names, fmt.Sprint(i+1))
		}
	}
	return strings.Join(names, " ")
}

func TestAPodWithoutVolumesRunsElsewhereBeforeItStops(t *testing.T) {
	t.Parallel()
	m := movable(t, 0)
	if !m.begin(false) || m.begin(false) {
		t.Fatal("a pod moves twice at once, or not at all")
	}
	m.is("before the key", "Running", "1 active on A", "2 incoming on B", "A has 1: 1 Running", "B has 1:")
	if err := m.setKey(keyOf(m.pod), "key"); err != nil {
		t.Fatal(err)
	}
	m.is("with a key", "Running", "1 active on A", "2 incoming on B", "A has 1: 1 Running", "B has 1: 2 Running incoming")
	if got := m.keys(); got != "1 2" {
		t.Errorf("the keys %s are in use, want 1 2", got)
	}
	m.says(m.to, 2, husk.EventStarting)
	m.says(m.from, 1, husk.EventRunning)
	for range 2 {
		m.says(m.to, 2, husk.EventRunning)
		m.is("when it runs", "Running", "1 leaving on A", "2 active on B", "A has 1: 1 Stopping", "B has 1: 2 Running")
	}
	m.says(m.from, 1, husk.EventRunning) // late
	for range 2 {
		m.says(m.from, 1, husk.EventGone)
		m.is("in the end", "Running", "2 active on B", "A has 0:", "B has 1: 2 Running")
	}
	if got := m.keys(); got != "2" {
		t.Errorf("the keys %s are in use, want 2", got)
	}
}

func TestAMoveThatFailsLeavesThePodWhereItIs(t *testing.T) {
	t.Parallel()
	m := movable(t, 0)
	m.began()
	m.says(m.to, 2, husk.EventFailed)
	m.is("when it has failed", "Running", "1 active on A", "2 leaving on B", "A has 1: 1 Running", "B has 1: 2 Stopping")
	if m.begin(false) {
		t.Error("a pod moves while a node still has it")
	}
	m.says(m.to, 2, husk.EventRunning) // late
	m.says(m.to, 2, husk.EventGone)
	m.is("in the end", "Running", "1 active on A", "A has 1: 1 Running", "B has 0:")
	if !m.begin(false) {
		t.Error("the pod cannot be moved again")
	}
	if m.is("again", "Running", "1 active on A", "3 incoming on B", "A has 1: 1 Running", "B has 1:"); m.keys() != "1 3" {
		t.Errorf("the keys %s are in use; numbers are never given twice", m.keys())
	}
}

func TestAPodThatIsDeletedMovesNowhereAndStaysUntilBothNodesHaveRemovedIt(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"A", "B"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			m := movable(t, 1)
			m.began()
			p, err := m.as(m.pod.TenantID).DeletePod(t.Context(), m.pod.ID)
			must(t, p, err)
			m.is("when it is deleted", "Stopping", "1 active on A", "2 leaving on B", "A has 1: 1 Stopping", "B has 1: 2 Stopping")
			if got := m.decide(m.to, ""); got != moves.Over {
				t.Errorf("a deleted pod moves: %s", got)
			}
			if first == "A" {
				m.says(m.from, 1, husk.EventGone)
				m.is("without A", "Stopping", "2 leaving on B", "A has 0:", "B has 1: 2 Stopping")
				m.says(m.to, 2, husk.EventGone)
			} else {
				m.says(m.to, 2, husk.EventGone)
				m.is("without B", "Stopping", "1 active on A", "A has 1: 1 Stopping", "B has 0:")
				m.says(m.from, 1, husk.EventGone)
			}
			m.is("in the end", "Gone", "A has 0:", "B has 0:")
		})
	}
}

func TestMemoryMovesOnceAndOnlyOneNodeGoesOn(t *testing.T) {
	t.Parallel()
	t.Run("switched", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		if m.begin(false) {
			t.Fatal("a pod with a volume starts on a second node")
		}
		m.began()
		m.is("before", "Running", "1 active on A", "2 incoming on B", "A has 1: 1 Running to 2 on B", "B has 1: 2 Running incoming from A")
		m.says(m.to, 2, husk.EventRunning) // only a decision switches
		if _, err := m.Moves().Decide(t.Context(), m.from.ID, m.pod.ID, 2, ""); husk.CodeOf(err) != husk.CodeConflict {
			t.Errorf("the node that a pod leaves has switched it: %v", err)
		}
		for range 2 {
			if got := m.decide(m.to, ""); got != moves.Switched {
				t.Errorf("the outcome is %s", got)
			}
		}
		if got := m.decide(m.from, "it took too long"); got != moves.Switched {
			t.Errorf("a decided move was canceled: %s", got)
		}
		m.is("after", "Running", "1 leaving on A", "2 active on B", "A has 1: 1 Stopping", "B has 1: 2 Running")
		if got := m.keys(); got != "2" {
			t.Errorf("the keys %s are in use after the switch", got)
		}
		m.says(m.from, 1, husk.EventGone)
		m.is("before its clients are cut off", "Running", "1 leaving on A gone", "2 active on B", "A has 0:", "B has 1: 2 Running")
		open, err := m.Moves().Open(t.Context())
		if must(t, open, err); len(open) != 1 || open[0].Cut || len(open[0].Clients) != 1 {
			t.Fatalf("open moves: %+v", open)
		}
		must(t, 0, m.Moves().SetCut(t.Context(), open[0]))
		m.is("in the end", "Running", "2 active on B", "A has 0:", "B has 1: 2 Running")
		if m.begin(true) {
			t.Error("the pod moves again although its clients are not known")
		}
	})
	t.Run("switched, and deleted before the first node asks", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		m.began()
		m.decide(m.to, "")
		p, err := m.as(m.pod.TenantID).DeletePod(t.Context(), m.pod.ID)
		must(t, p, err)
		m.says(m.to, 2, husk.EventGone)
		m.is("without B", "Stopping", "1 leaving on A", "A has 1: 1 Stopping", "B has 0:")
		if got := m.decide(m.from, "the agent was restarted"); got != moves.Over {
			t.Errorf("the outcome is %s; the machine that has left may not continue", got)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		m.began()
		if got := m.decide(m.from, "operation failed: qemu at 192.0.2.1:49152 has closed its socket"); got != moves.Canceled {
			t.Errorf("the outcome is %s", got)
		}
		events, _, err := m.as(m.pod.TenantID).Events(t.Context(), store.Page{Limit: 100}, store.EventFilter{ObjectID: &m.pod.ID})
		const told = "the pod stays on its node: its memory could not be moved to the other node" // without the details of the node
		if !slices.ContainsFunc(must(t, events, err), func(e husk.Event) bool { return e.Reason == "MoveFailed" && e.Message == told }) {
			t.Errorf("the events are %+v", events)
		}
		if got := m.decide(m.to, ""); got != moves.Over {
			t.Errorf("a canceled move was switched: %s", got)
		}
		m.says(m.to, 2, husk.EventGone)
		if got := m.decide(m.from, "the agent was restarted"); got != moves.Canceled {
			t.Errorf("the outcome is %s after the second placement has ended", got)
		}
		m.is("after", "Running", "1 active on A", "A has 1: 1 Running", "B has 0:")
	})
	for _, lost := range []string{"A", "B"} {
		t.Run("without a lease of "+lost, func(t *testing.T) {
			t.Parallel()
			m := movable(t, 1)
			m.began()
			if lost == "A" {
				m.lose(m.from)
			} else {
				m.lose(m.to)
			}
			if got := m.decide(m.to, ""); got != moves.Over {
				t.Errorf("the outcome is %s although node %s is lost", got, lost)
			}
		})
	}
}

func TestALostNodeEndsMovesToAndFromIt(t *testing.T) {
	t.Parallel()
	t.Run("the one that the pod leaves", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		m.began()
		m.lose(m.from)
		m.fence(m.from)
		m.move(m.from)
		m.is("when it is fenced", "Pending", "1 fenced on A", "2 leaving on B", "A has 0:", "B has 1: 2 Stopping")
		m.says(m.to, 2, husk.EventGone)
		m.is("in the end", "Pending", "1 fenced on A", "A has 0:", "B has 0:")
		m.place(m.to.ID, m.pod)
		m.is("again", "Starting", "1 fenced on A", "3 active on B", "A has 0:", "B has 1: 3 Starting")
	})
	t.Run("the one that it goes to", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		m.began()
		m.lose(m.to)
		m.move(m.to)
		m.is("when it is lost", "Running", "1 active on A", "2 leaving on B", "A has 1: 1 Running", "B has 1: 2 Stopping")
		m.fence(m.to)
		m.move(m.to)
		m.is("when it is fenced", "Running", "1 active on A", "2 fenced on B gone", "A has 1: 1 Running", "B has 0:")
	})
	t.Run("the one that it has left", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 1)
		m.began()
		m.decide(m.to, "")
		m.lose(m.from)
		m.fence(m.from)
		m.move(m.from)
		m.is("when it is fenced", "Running", "1 fenced on A gone", "2 active on B", "A has 0:", "B has 1: 2 Running")
	})
	t.Run("the one that a pod without volumes has left", func(t *testing.T) {
		t.Parallel()
		m := movable(t, 0)
		m.began()
		m.says(m.to, 2, husk.EventRunning)
		m.lose(m.from)
		m.move(m.from)
		m.is("when it is lost", "Running", "2 active on B", "A has 0:", "B has 1: 2 Running")
	})
}

func TestADrain(t *testing.T) {
	t.Parallel()
	m := movable(t, 0)
	ctx := t.Context()
	if _, err := m.Moves().Drain(ctx, m.from.ID); husk.CodeOf(err) != husk.CodeNotFound {
		t.Errorf("a drain that nobody wanted: %v", err)
	}
	d, err := m.Moves().PutDrain(ctx, m.from.ID, husk.DefaultDrainLimits)
	if must(t, d, err); d.State != husk.DrainDraining || d.Pods != 1 || !m.getNode(m.from.ID).Cordoned || m.getNode(m.from.ID).Drain != husk.DrainDraining {
		t.Errorf("the drain is %+v", d)
	}
	all, err := m.Moves().Drains(ctx)
	if must(t, all, err); len(all) != 1 || len(all[0].Pods) != 1 || !all[0].Pods[0].Due || all[0].Pods[0].Live() {
		t.Fatalf("the drains are %+v", all)
	}
	must(t, 0, m.Moves().Blocked(ctx, m.from.ID, all[0].Pods[0], "no node is large enough"))
	d, err = m.Moves().Drain(ctx, m.from.ID)
	if must(t, d, err); len(d.Blocked) != 1 || d.Blocked[0].Message != "no node is large enough" || d.Blocked[0].Name != m.pod.Name {
		t.Errorf("the blocked pods are %+v", d.Blocked)
	}
	epoch := m.epoch()
	if ok, err := m.Moves().Begin(ctx, &epoch, moves.Start{TenantID: m.pod.TenantID, PodID: m.pod.ID, From: m.from.ID, To: m.to.ID, ToVersion: m.version(m.to.ID), Drains: true}); err != nil || !ok {
		t.Fatalf("begun: %t, %v", ok, err)
	}
	must(t, 0, m.Moves().CancelDrain(ctx, m.from.ID))
	m.is("after the drain was canceled", "Running", "1 active on A", "2 leaving on B", "A has 1: 1 Running", "B has 1: 2 Stopping")
	if m.getNode(m.from.ID).Cordoned {
		t.Error("the node is still cordoned")
	}
	m.says(m.to, 2, husk.EventGone)

	d, err = m.Moves().PutDrain(ctx, m.from.ID, husk.DefaultDrainLimits)
	must(t, d, err)
	if ok, err := m.Moves().Begin(ctx, &epoch, moves.Start{TenantID: m.pod.TenantID, PodID: m.pod.ID, From: m.from.ID, To: m.to.ID, ToVersion: m.version(m.to.ID), Drains: true}); err != nil || !ok {
		t.Fatalf("begun: %t, %v", ok, err)
	}
	must(t, 0, m.setKey(keyOf(m.pod), "key"))
	m.says(m.to, 3, husk.EventRunning)
	m.says(m.from, 1, husk.EventGone)
	must(t, 0, m.Moves().SetDrained(ctx, m.from.ID, true))
	d, err = m.Moves().Drain(ctx, m.from.ID)
	if must(t, d, err); d.State != husk.DrainDrained || d.Pods != 0 || d.Moved != 1 || d.Leaving != 0 || len(d.Blocked) != 0 {
		t.Errorf("the drain is %+v", d)
	}
}
