// SPDX-License-Identifier: Apache-2.0

package control

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
)

// fleet is a set of nodes with heartbeats, judged second by second.
type fleet struct {
	t      *testing.T
	w      *leases
	start  time.Time
	now    time.Duration
	nodes  []husk.Node
	braked bool // by the last judgement
}

var terms = LeaseTerms{Heartbeat: 10 * time.Second, Lease: 30 * time.Second, Margin: 5 * time.Second, Brake: 0.5}

func newFleet(t *testing.T, states ...husk.NodeState) *fleet {
	f := &fleet{t: t, w: newLeases(terms), start: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
	for i, s := range states {
		f.nodes = append(f.nodes, husk.Node{ID: uuid.New(), Name: string(rune('a' + i)), State: s})
		if s != husk.NodeJoining {
			f.beat(i)
		}
	}
	return f
}

// beat is a heartbeat of a node. The database's clock may be wrong by years: it is compared for equality only.
func (f *fleet) beat(i int) {
	at := f.start.AddDate(-5, 0, 0).Add(f.now)
	f.nodes[i].HeartbeatAt = &at
	f.nodes[i].State = f.nodes[i].State.Next(husk.NodeHeartbeat)
}

// until judges every second until a time, while these nodes send heartbeats, and applies the judgements. It returns which nodes became Lost.
func (f *fleet) until(end time.Duration, alive ...int) string {
	f.t.Helper()
	lost := ""
	for ; f.now <= end; f.now += time.Second {
		if f.now%terms.Heartbeat == 0 {
			for _, i := range alive {
				f.beat(i)
			}
		}
		v := f.w.judge(f.nodes, f.start.Add(f.now))
		f.braked = v.braked
		for i, n := range f.nodes {
			for _, l := range v.late {
				if l.ID == n.ID {
					f.nodes[i].State = n.State.Next(husk.NodeLate)
				}
			}
			for _, l := range v.lost {
				if l.ID == n.ID {
					f.nodes[i].State = n.State.Next(husk.NodeLeaseRanOut)
					lost += n.Name
				}
			}
		}
	}
	return lost
}

func TestANodeIsLostOnceItsLeaseAndItsMarginHaveRunOut(t *testing.T) {
	t.Parallel()
	f := newFleet(t, husk.NodeReady, husk.NodeReady, husk.NodeReady, husk.NodeJoining)
	for _, step := range []struct {
		at    time.Duration
		alive []int
		lost  string
		a     husk.NodeState
	}{
		{15 * time.Second, []int{1, 2}, "", husk.NodeReady}, // every node gets a fresh lease from a new leader, and is late after 1.5 heartbeats
		{16 * time.Second, []int{1, 2}, "", husk.NodeSuspect},
		{35 * time.Second, []int{1, 2}, "", husk.NodeSuspect},
		{36 * time.Second, []int{1, 2}, "a", husk.NodeLost},
		{50 * time.Second, []int{0, 1, 2}, "", husk.NodeReady}, // it comes back before it was fenced
	} {
		if lost := f.until(step.at, step.alive...); lost != step.lost || f.nodes[0].State != step.a {
			t.Errorf("after %s %q are lost, want %q; the first node is %s, want %s", step.at, lost, step.lost, f.nodes[0].State, step.a)
		}
	}
	if f.nodes[3].State != husk.NodeJoining {
		t.Errorf("a node without heartbeats is %s", f.nodes[3].State)
	}
}

// Heartbeats that arrive while the server sees nothing are not missed heartbeats.
func TestAServerThatWasBlindJudgesNobody(t *testing.T) {
	t.Parallel()
	f := newFleet(t, husk.NodeReady, husk.NodeReady, husk.NodeReady)
	f.until(5 * time.Second)
	f.now += time.Minute // it was suspended, or a query took this long
	if lost := f.until(f.now + 34*time.Second); lost != "" {
		t.Errorf("%s are lost within a lease of the first look", lost)
	}
}

func TestTheBrakeHoldsIfTooManyNodesAreSilent(t *testing.T) {
	t.Parallel()
	five := []husk.NodeState{husk.NodeReady, husk.NodeReady, husk.NodeReady, husk.NodeReady, husk.NodeReady}
	for name, c := range map[string]struct {
		nodes  []husk.NodeState
		alive  []int
		lost   string
		braked bool
	}{
		"none of five":           {five, []int{0, 1, 2, 3, 4}, "", false},
		"one of five":            {five, []int{1, 2, 3, 4}, "a", false},
		"two of five":            {five, []int{2, 3, 4}, "ab", false},
		"three of five":          {five, []int{3, 4}, "abc", true},
		"all of five":            {five, nil, "abcde", true},
		"the only one":           {five[:1], nil, "a", true},
		"one of two":             {five[:2], []int{1}, "a", false},
		"a second of two":        {[]husk.NodeState{husk.NodeLost, husk.NodeReady}, nil, "b", true},
		"none joined":            {[]husk.NodeState{husk.NodeJoining}, nil, "", false},
		"one of five, two being": {[]husk.NodeState{husk.NodeFencing, husk.NodeFencing, husk.NodeReady, husk.NodeReady, husk.NodeReady}, []int{3, 4}, "c", true},
	} {
		f := newFleet(t, c.nodes...)
		for i, s := range c.nodes {
			f.nodes[i].State = s
		}
		if lost := f.until(2*time.Minute, c.alive...); lost != c.lost || f.braked != c.braked {
			t.Errorf("%s silent: %q are lost, want %q; braked: %t", name, lost, c.lost, f.braked)
		}
	}
}

func TestForgottenNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, husk.NodeReady, husk.NodeReady)
	f.until(time.Second)
	f.nodes = f.nodes[:1]
	f.until(2 * time.Second)
	if len(f.w.seen) != 1 {
		t.Errorf("%d nodes are remembered after one of two was deleted", len(f.w.seen))
	}
}

func TestLeaseTermsThatCannotHoldAreRefused(t *testing.T) {
	t.Parallel()
	for want, wrong := range map[string]func(*LeaseTerms){
		"":              func(*LeaseTerms) {},
		"the heartbeat": func(t *LeaseTerms) { t.Heartbeat = 500 * time.Millisecond },
		"the lease":     func(t *LeaseTerms) { t.Lease = 19 * time.Second },
		"the margin":    func(t *LeaseTerms) { t.Margin = time.Second },
		"the brake":     func(t *LeaseTerms) { t.Brake = 0 },
	} {
		try := terms
		wrong(&try)
		if err := try.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%+v: %v, want an error about %q", try, err, want)
		}
	}
}
