// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"husk"
	"husk/store"
)

// LeaseTerms say how long a node counts as alive.
type LeaseTerms struct {
	// Heartbeat is how often an agent sends one. Lease is how long the node counts as alive after it: when its lease runs out, the agent ends the
	// machines that write volumes. Margin is how much later the server calls the node lost: agents count from sending, and need time to end machines.
	Heartbeat, Lease, Margin time.Duration
	// Brake is the share of nodes that may be silent at once. If more are, or all, the server suspects its own network, and moves nothing.
	Brake float64
}

// Check refuses terms that cannot hold.
func (t LeaseTerms) Check() error {
	switch {
	case t.Heartbeat < time.Second:
		return fmt.Errorf("the heartbeat (%s) must be at least one second", t.Heartbeat)
	case t.Lease < 2*t.Heartbeat:
		return fmt.Errorf("the lease (%s) must be at least twice the heartbeat (%s), so that one lost request does not end a node's machines", t.Lease, t.Heartbeat)
	case t.Margin < minMargin:
		return fmt.Errorf("the margin (%s) must be at least %s, because a node needs this long to end its machines when its lease runs out", t.Margin, minMargin)
	case t.Brake <= 0 || t.Brake > 1:
		return fmt.Errorf("the brake (%g) must be more than 0 and at most 1: it is the share of nodes that may be silent at once", t.Brake)
	}
	return nil
}

// minMargin is how long the watchdog of a node takes to notice the end of the lease and to end the machines, with reserve: it looks every half
// second, and the kernel ends a process within milliseconds, but a node may be busy.
const minMargin = 2 * time.Second

// late returns after which silence a node is Suspect: one heartbeat is overdue by half of the interval.
func (t LeaseTerms) late() time.Duration { return t.Heartbeat + max(t.Heartbeat/2, time.Second) }

// judgeEvery is how often heartbeats are judged. A lost node is noticed at most this much late.
func (t LeaseTerms) judgeEvery() time.Duration {
	return min(max(t.Heartbeat/10, 200*time.Millisecond), time.Second)
}

// leases judges heartbeats by this process' own monotonic clock: by the time since it last saw a node's heartbeat change. Every node gets a fresh
// lease when a server starts to lead, so a server never judges by heartbeats from before it led.
type leases struct {
	terms LeaseTerms
	seen  map[store.ID]heartbeat
	last  time.Time // of the last judgement
}

type heartbeat struct {
	stamp time.Time // from the database; compared for equality only
	moved time.Time // when this process saw it change, on the monotonic clock
}

func newLeases(terms LeaseTerms) *leases {
	return &leases{terms: terms, seen: map[store.ID]heartbeat{}}
}

// blind gives every node a fresh lease, because heartbeats may have been missed.
func (w *leases) blind() { w.seen = map[store.ID]heartbeat{} }

// judgement is what follows from the nodes' heartbeats.
type judgement struct {
	late, lost []husk.Node // nodes that become Suspect or Lost
	silent     int         // of all nodes that are not known to be down already
	of         int
	braked     bool
}

// recentlyFenced is how long a fenced node counts among those that are silent at once. After that, it is known to be down.
const recentlyFenced = 10 * time.Minute

// judge returns what follows from the nodes' heartbeats. If it was not called for longer than a heartbeat, it was blind meanwhile.
func (w *leases) judge(nodes []husk.Node, now time.Time) judgement {
	if now.Sub(w.last) > max(w.terms.Heartbeat, 2*w.terms.judgeEvery()) {
		w.blind()
	}
	w.last = now
	var v judgement
	seen := make(map[store.ID]heartbeat, len(nodes))
	for _, n := range nodes {
		if n.HeartbeatAt == nil {
			continue
		}
		h, known := w.seen[n.ID]
		if !known || !h.stamp.Equal(*n.HeartbeatAt) {
			h = heartbeat{*n.HeartbeatAt, now}
		}
		seen[n.ID] = h
		silence := now.Sub(h.moved)
		switch n.State {
		case husk.NodeReady, husk.NodeSuspect:
			v.of++
			if silence <= w.terms.late() {
				break
			}
			v.silent++
			if silence > w.terms.Lease+w.terms.Margin || n.MachineOff {
				v.lost = append(v.lost, n)
			} else if n.State == husk.NodeReady {
				v.late = append(v.late, n)
			}
		case husk.NodeLost, husk.NodeFencing:
			v.of, v.silent = v.of+1, v.silent+1
		case husk.NodeFenced:
			if n.FencedAt != nil && time.Since(*n.FencedAt) < recentlyFenced {
				v.of, v.silent = v.of+1, v.silent+1
			}
		case husk.NodeRecovering:
			v.of++
		case husk.NodeJoining:
		}
	}
	w.seen = seen
	v.braked = v.silent == v.of && v.of > 0 || v.silent > 1 && float64(v.silent) > w.terms.Brake*float64(v.of)
	return v
}

// nodes detects lost nodes by their heartbeats.
type nodes struct {
	store   store.Control
	log     *slog.Logger
	metrics *metrics
	leases  *leases
	brake   *brake
}

// brake says whether pods are held on their nodes. It is on until the leader has judged the nodes for the first time.
type brake struct{ released atomic.Bool }

func (b *brake) on() bool { return !b.released.Load() }

func (b *brake) reset() { b.released.Store(false) }

// unknownBatch is how many pods of lost nodes one transaction marks as Unknown.
const unknownBatch = 200

// pass marks nodes whose heartbeats are late as Suspect, those without heartbeats as Lost, and the pods of the latter as Unknown. The loop fencing
// moves the pods. A leader that ends between two steps leaves the rest to the next one.
func (s *nodes) pass(ctx context.Context, epoch int64) error {
	all, err := s.store.NodeBeats(ctx)
	if err != nil {
		s.leases.blind()
		return err
	}
	v := s.leases.judge(all, time.Now())
	s.setBrake(v)
	var failures []error
	for _, n := range v.late {
		late, err := s.store.SetNodeState(ctx, epoch, n, n.State.Next(husk.NodeLate))
		failures = append(failures, err)
		if late {
			s.log.Info("a node's heartbeat is late; it gets no new pods", "node", n.ID, "name", n.Name)
		}
	}
	for _, n := range v.lost {
		lost, err := s.store.SetNodeState(ctx, epoch, n, n.State.Next(husk.NodeLeaseRanOut))
		failures = append(failures, err)
		if lost {
			s.metrics.lost.Inc()
			s.log.Warn("node lost", "node", n.ID, "name", n.Name, "lease", s.leases.terms.Lease, "margin", s.leases.terms.Margin)
		}
	}
	for {
		pods, err := s.store.MarkPodsUnknown(ctx, epoch, unknownBatch)
		if pods > 0 {
			s.log.Warn("pods are Unknown, because their nodes are lost", "pods", pods)
		}
		if err != nil || pods < unknownBatch {
			return errors.Join(append(failures, err)...)
		}
	}
}

// setBrake holds back evictions while too many nodes are silent.
func (s *nodes) setBrake(v judgement) {
	if released := !v.braked; s.brake.released.Swap(released) != released {
		if v.braked {
			s.log.Error("too many nodes are silent at once; no pods are moved. Check this server's network. If the nodes are down, confirm it with husk node fence --machine-is-off, or remove them",
				"silent", v.silent, "nodes", v.of, "brake", s.leases.terms.Brake)
		} else {
			s.log.Info("enough nodes respond again; pods of lost nodes are moved", "silent", v.silent, "nodes", v.of)
		}
	}
	s.metrics.brake.Set(0)
	if v.braked {
		s.metrics.brake.Set(1)
	}
}
