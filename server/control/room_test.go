// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/scheduler"
	"husk/store"
	"husk/store/moves"
)

// packed is a large node that is full of small pods, and three empty small nodes, one for each of them. A large pod fits if three of the small pods move.
type packed struct {
	fixture
	*scheduling
	large husk.Node
	small []husk.Node
	last  int // the number of the last pod
}

func openPacked(t *testing.T, most int) *packed {
	t.Helper()
	f := open(t)
	p := &packed{fixture: f, scheduling: newScheduling(f.Control, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()), most)}
	p.large = p.add("large", husk.Resources{CPUMillis: 16_000, MemoryMiB: 65_536})
	var pods []husk.Pod
	for range 4 {
		p.last++
		pods = append(pods, f.pod(p.last, husk.Resources{CPUMillis: 4000, MemoryMiB: 8192}, map[string]string{}, nil))
	}
	p.place()
	for _, pod := range pods {
		key := store.PodKey{TenantID: f.id, ID: pod.ID}
		_, number, err := f.PodToKey(t.Context(), store.Work{TenantID: f.id, ObjectID: pod.ID})
		must(t, err)
		must(t, f.SetPodKeys(t.Context(), map[store.PlacementKey]string{{PodKey: key, Number: number}: "key"}))
		must(t, f.Report(t.Context(), p.large.ID, []husk.PodReport{{PodID: pod.ID, Generation: 1, Event: husk.EventRunning}}))
	}
	for _, name := range []string{"a", "b", "c"} {
		p.small = append(p.small, p.add(name, husk.Resources{CPUMillis: 4000, MemoryMiB: 16_384}))
	}
	return p
}

func (p *packed) add(name string, size husk.Resources) husk.Node {
	p.t.Helper()
	n := p.node(name, size, map[string]string{})
	p.beat(n, size, husk.CapabilityMoves, husk.CapabilityLiveMigration)
	return n
}

func (p *packed) beat(n husk.Node, size husk.Resources, capabilities ...string) {
	p.t.Helper()
	_, _, err := p.Heartbeat(p.t.Context(), store.Beat{Node: husk.Node{
		ID: n.ID, Capacity: size, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443", Capabilities: capabilities,
	}})
	must(p.t, err)
}

func (p *packed) place() {
	p.t.Helper()
	for range 3 {
		if err := p.pass(p.t.Context(), 0); err == nil {
			return
		} else if !errors.Is(err, ErrMore) {
			p.t.Fatal(err)
		}
	}
}

// wait lets a large pod wait, and returns the moves that are under way then.
func (p *packed) wait() []moves.Open {
	p.t.Helper()
	p.last++
	pod := p.pod(p.last, husk.Resources{CPUMillis: 10_000, MemoryMiB: 8192}, map[string]string{}, nil)
	p.place()
	open, err := p.Moves().Open(p.t.Context())
	must(p.t, err)
	_, err = p.tenant.DeletePod(p.t.Context(), pod.ID) // it would use the quota of the next one
	must(p.t, err)
	return open
}

// fail lets moves fail. Nothing is left of them on the nodes that the pods should have gone to.
func (p *packed) fail(open []moves.Open) {
	p.t.Helper()
	for _, m := range open {
		must(p.t, p.Moves().Cancel(p.t.Context(), m, "the test cancels it"))
		must(p.t, p.Report(p.t.Context(), m.NodeID, []husk.PodReport{{PodID: m.PodID, Generation: 1, Placement: m.Number, Event: husk.EventGone}}))
	}
}

// later lets time pass for the pods that stay.
func (p *packed) later(d time.Duration) {
	for key, s := range p.room.stays {
		s.until = s.until.Add(-d)
		p.room.stays[key] = s
	}
}

// Small pods use a large node, and small nodes are empty. A large pod waits, and the small pods move if the server may move them.
func TestPodsMoveForALargePodThatWaits(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{0: 0, 2: 0, 3: 3} {
		p := openPacked(t, most)
		open := p.wait()
		if len(open) != want {
			t.Errorf("at most %d moves: %d are under way, want %d: %+v", most, len(open), want, open)
		}
		to := map[store.ID]int{}
		for _, m := range open {
			to[m.NodeID]++
			if !m.Live {
				t.Errorf("pod %s is restarted for another one", m.PodID)
			}
		}
		if _, stays := to[p.large.ID]; stays || len(to) != want {
			t.Errorf("the pods move to %v", to)
		}
		// The next pods do not begin more moves as long as these are under way.
		if diff := cmp.Diff(len(open), len(p.wait())); diff != "" {
			t.Errorf("moves (-before +after): %s", diff)
		}
	}
}

// Pods stay for an hour after a move, and twice as long after each move in a row that failed.
func TestPodsStayLongerAfterMovesThatFailed(t *testing.T) {
	t.Parallel()
	p := openPacked(t, 3)
	for _, hours := range []int{2, 4} {
		open := p.wait()
		if len(open) != 3 {
			t.Fatalf("%d moves are under way, want 3", len(open))
		}
		p.fail(open)
		for hour := range hours {
			if open := p.wait(); len(open) != 0 {
				t.Fatalf("%d of %d hours after moves that failed, %d moves begin", hour, hours, len(open))
			}
			p.later(time.Hour)
		}
	}
}

// Moves have a budget, whichever pods wait. A plan that is larger does not begin.
func TestMovesForWaitingPodsHaveABudget(t *testing.T) {
	t.Parallel()
	for left, want := range map[int]int{0: 0, 2: 0, 3: 3} {
		p := openPacked(t, 20)
		p.room.budget.SetLimit(0) // it does not grow during the test
		if !p.room.budget.AllowN(time.Now(), movesPerHour-left) {
			t.Fatalf("the budget is less than %d moves", movesPerHour)
		}
		if open := p.wait(); len(open) != want {
			t.Errorf("with %d moves left, %d begin, want %d", left, len(open), want)
		}
		if got := int(p.room.budget.Tokens()); got != left-want {
			t.Errorf("%d moves are left after %d of %d, want %d", got, want, left, left-want)
		}
	}
}

// The agent of one of the small nodes cannot receive memory, so the large pod does not fit, however many of the small pods move.
func TestNoMoveBeginsForAPlanThatCannotBeFinished(t *testing.T) {
	t.Parallel()
	for old := range 3 {
		p := openPacked(t, 3)
		p.beat(p.small[old], husk.Resources{CPUMillis: 4000, MemoryMiB: 16_384}, husk.CapabilityMoves)
		if open := p.wait(); len(open) != 0 {
			t.Errorf("node %d cannot receive memory, but %d moves begin", old, len(open))
		}
		if len(p.room.stays) != 1 {
			t.Errorf("%d pods stay, want the one that cannot move: %v", len(p.room.stays), p.room.stays)
		}
	}
}

// The nodes change after the plan was made.
func TestAPodWhoseMoveDoesNotBeginStays(t *testing.T) {
	t.Parallel()
	p := openPacked(t, 3)
	_, err := p.index.sync(t.Context())
	must(t, err)
	for _, n := range p.small {
		_, err := p.UpdateNode(t.Context(), n.ID, func(s husk.NodeSettings) husk.NodeSettings { s.Cordoned = true; return s })
		must(t, err)
	}
	large := []scheduler.Pod{{Size: scheduler.Resources{CPUMillis: 10_000, MemoryMiB: 8192}}}
	refusals := []*scheduler.Refusal{{Reason: scheduler.InsufficientCPU}}
	for pass := range 2 { // the next plan has the other three pods
		must(t, p.makeRoom(t.Context(), 0, large, refusals))
		if len(p.room.stays) != pass+1 {
			t.Errorf("%d pods stay after %d passes, want one for each: %v", len(p.room.stays), pass+1, p.room.stays)
		}
	}
	if open, err := p.Moves().Open(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("%d moves began to cordoned nodes (%v)", len(open), err)
	}
}

// How long a pod stays, and what is known of it, after moves that failed or did not.
func TestStaysAreForgotten(t *testing.T) {
	t.Parallel()
	r, now, key := newRoom(3), time.Now(), store.PodKey{ID: uuid.New()}
	from, to := uuid.New(), uuid.New()
	at := from
	check := func() time.Duration {
		r.check(now, func(store.PodKey) store.ID { return at })
		return max(0, r.stays[key].until.Sub(now))
	}
	for i, hours := range []int{2, 4, 8, 16, 24, 24} {
		want := time.Duration(hours) * time.Hour
		r.begun(key, from, now)
		began := now
		now = r.stays[key].until
		if got := now.Add(check()).Sub(began); got != want {
			t.Errorf("after %d moves that failed, the pod stays for %s, want %s", i+1, got, want)
		}
		now = r.stays[key].until
	}
	r.refused(key, now)
	if got := check(); got != stays {
		t.Errorf("a pod that cannot be moved stays for %s, want %s", got, stays)
	}
	now = now.Add(stays)
	if check(); r.stays[key].failures != 6 {
		t.Errorf("%d failures are known, want 6", r.stays[key].failures)
	}
	r.begun(key, from, now)
	at, now = to, r.stays[key].until
	if check(); len(r.stays) != 0 {
		t.Errorf("the pod has moved, but stays: %v", r.stays)
	}
	r.begun(key, from, now)
	at, now = from, now.Add(rests)
	check()
	now = r.stays[key].until.Add(restsMost + 1)
	if check(); len(r.stays) != 0 {
		t.Errorf("failures are known for ever: %v", r.stays)
	}
}
