// SPDX-License-Identifier: Apache-2.0

// Package soak provokes faults on a fleet, one after the other and at random times, while pods write to volumes, and then judges whether each volume has
// had one writer at a time and has lost nothing (make soak).
package soak

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/dev"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/moves"
	"husk/test/onewriter"
	"husk/test/stack"
)

var (
	failovers = flag.Int("failovers", 200, "how many times a pod has to move off a node")
	seed      = flag.Uint64("seed", 0, "of the random numbers; 0: a new one")
)

func TestMain(m *testing.M) { stack.Main(m) }

const (
	nodes   = 3
	writers = 4
)

// soak is one run.
type soak struct {
	*stack.Fleet
	t       *testing.T
	tenant  uuid.UUID
	rand    *rand.Rand
	writers []*onewriter.History
}

// fault breaks a node and repairs it. Until then, the pods on it may move.
type fault struct {
	name string
	do   func(s *soak, n *stack.Host, pod uuid.UUID)
}

// pause waits for a random time.
func (s *soak) pause(longest time.Duration) {
	time.Sleep(time.Duration(s.rand.Int64N(int64(longest))))
}

// move begins to move a pod with its memory, and waits for a random time of the move. A pod that cannot move at the moment stays.
func (s *soak) move(pod uuid.UUID) {
	m, err := s.Operator.Tenants.Move(s.t.Context(), s.tenant, pod, openapi.MovePut{})
	s.t.Logf("move %s to %s: %v", pod, m.ToNodeName, err)
	s.pause(6 * time.Second)
}

// fenced waits until the node's pods may move.
func (s *soak) fenced(n *stack.Host) { n.Await(s.t, openapi.NodeStateFenced) }

var faults = []fault{
	{"the node loses its power", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Kill(s.t)
		s.fenced(n)
		s.pause(10 * time.Second)
		n.Start(s.t)
	}},
	{"the node loses its power and returns in the middle", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Kill(s.t)
		s.pause(20 * time.Second)
		n.Start(s.t)
	}},
	{"the node hangs", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Freeze(s.t)
		s.fenced(n)
		s.pause(20 * time.Second)
		n.Thaw(s.t)
	}},
	{"the node hangs for a while", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Freeze(s.t)
		s.pause(20 * time.Second)
		n.Thaw(s.t)
	}},
	{"the machine hangs, and nothing on the node is left that could end it", func(s *soak, n *stack.Host, pod uuid.UUID) {
		n.Process("agent").Hold(s.t)
		n.Process("watchdog").Kill(s.t)
		n.QEMU(pod).Freeze(s.t)
		s.fenced(n)
		s.pause(20 * time.Second)
		n.QEMU(pod).Thaw(s.t)
		s.pause(5 * time.Second)
		n.Process("agent").Release(s.t)
	}},
	{"agent and watchdog die, and the machine runs on", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Process("agent").Hold(s.t)
		n.Process("watchdog").Kill(s.t)
		s.fenced(n)
		s.pause(5 * time.Second)
		n.Process("agent").Release(s.t)
	}},
	{"the watchdog hangs, and the agent dies", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Process("watchdog").Freeze(s.t)
		n.Process("agent").Hold(s.t)
		s.fenced(n)
		n.Process("watchdog").Thaw(s.t)
		n.Process("agent").Release(s.t)
	}},
	{"the node is cut off from the servers", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Cut(s.t, dev.FromServers, fabric.Both)
		s.pause(30 * time.Second)
		n.Heal(s.t)
	}},
	{"nothing from the servers reaches the node", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Cut(s.t, dev.FromServers, fabric.In)
		s.fenced(n)
		n.Heal(s.t)
	}},
	{"nothing from the node reaches the servers", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Cut(s.t, dev.FromServers, fabric.Out)
		s.fenced(n)
		n.Heal(s.t)
	}},
	{"the node is cut off from everything", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Cut(s.t, dev.FromAll, fabric.Both)
		s.fenced(n)
		s.pause(10 * time.Second)
		n.Heal(s.t)
	}},
	{"the node is cut off from Ceph", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Cut(s.t, dev.FromCeph, fabric.Both)
		s.pause(20 * time.Second)
		n.Heal(s.t)
	}},
	{"the machine dies", func(s *soak, n *stack.Host, pod uuid.UUID) { n.QEMU(pod).Kill(s.t) }},
	{"agent and libvirt die", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Process("agent").Kill(s.t)
		n.Process("libvirtd").Kill(s.t)
	}},
	{"a server dies while it moves the pods", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Kill(s.t)
		server := s.Server(1 + s.rand.IntN(2))
		n.Await(s.t, openapi.NodeStateSuspect)
		s.pause(15 * time.Second)
		server.Kill(s.t)
		s.fenced(n)
		server.Start(s.t)
		n.Start(s.t)
	}},
	{"Ceph's monitor dies while the node is fenced", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Kill(s.t)
		n.Await(s.t, openapi.NodeStateSuspect)
		s.Process("ceph-mon").Hold(s.t)
		s.pause(25 * time.Second)
		s.Process("ceph-mon").Release(s.t)
		s.fenced(n)
		n.Start(s.t)
	}},
	{"Ceph's OSD hangs while the node is fenced", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Freeze(s.t)
		n.Await(s.t, openapi.NodeStateSuspect)
		s.Process("ceph-osd").Freeze(s.t)
		s.pause(25 * time.Second)
		s.Process("ceph-osd").Thaw(s.t)
		s.fenced(n)
		n.Thaw(s.t)
	}},
	{"a pod moves", func(s *soak, _ *stack.Host, pod uuid.UUID) { s.move(pod) }},
	{"a pod moves, and the agent of its node dies", func(s *soak, n *stack.Host, pod uuid.UUID) {
		s.move(pod)
		n.Process("agent").Kill(s.t)
	}},
	{"a pod moves, and its node loses its power", func(s *soak, n *stack.Host, pod uuid.UUID) {
		s.move(pod)
		n.Kill(s.t)
		s.fenced(n)
		n.Start(s.t)
	}},
	{"a pod moves, and a server dies", func(s *soak, _ *stack.Host, pod uuid.UUID) {
		s.move(pod)
		server := s.Server(1 + s.rand.IntN(2))
		server.Kill(s.t)
		s.pause(5 * time.Second)
		server.Start(s.t)
	}},
	{"a pod moves, and the nodes are cut off from each other", func(s *soak, n *stack.Host, pod uuid.UUID) {
		s.move(pod)
		n.Cut(s.t, dev.FromNodes, fabric.Both)
		s.pause(20 * time.Second)
		n.Heal(s.t)
	}},
	{"Postgres dies while the node is lost", func(s *soak, n *stack.Host, _ uuid.UUID) {
		n.Kill(s.t)
		n.Await(s.t, openapi.NodeStateSuspect)
		s.pause(10 * time.Second)
		s.Process("postgres").Kill(s.t)
		s.fenced(n)
		n.Start(s.t)
	}},
}

func TestOneWriterUnderFaults(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	f := stack.StartFleet(t, nodes)
	tn := f.NewTenant(t)
	s := &soak{Fleet: f, t: t, tenant: tn.ID, rand: rand.New(rand.NewPCG(*seed, 0))} //nolint:gosec // to repeat a run
	image := onewriter.Image(t, tn)
	for i := range writers {
		s.writers = append(s.writers, onewriter.Start(t, tn, image, fmt.Sprintf("writer-%d", i+1), nil))
	}
	for _, w := range s.writers {
		w.Writes(t, 1, 1)
	}
	began, moved := time.Now(), 0
	for round := 0; moved < *failovers; round++ {
		f := faults[round%len(faults)]
		if round >= len(faults) {
			f = faults[s.rand.IntN(len(faults))]
		}
		victim := s.writers[s.rand.IntN(len(s.writers))]
		on := s.NodeOf(t, victim.Pod.ID)
		before := map[*onewriter.History]string{}
		runs := map[*onewriter.History]int{}
		started := map[*onewriter.History]*time.Time{}
		for _, w := range s.writers {
			before[w], runs[w] = s.NodeOf(t, w.Pod.ID).Name, w.Runs()
			started[w] = tn.Wait(t, w.Pod.ID, openapi.PodPhaseRunning).Status.Timeline.DomainStartedAt
		}
		s.pause(2 * time.Second)
		f.do(s, on, victim.Pod.ID)
		s.Repaired(t)
		here := 0
		for _, w := range s.writers {
			moves.Settled(t, s.Fleet, tn, w.Pod)
			first := 0
			if at := tn.Wait(t, w.Pod.ID, openapi.PodPhaseRunning).Status.Timeline.DomainStartedAt; at != nil && started[w] != nil && at.After(*started[w]) {
				first = runs[w] // the log of the new machine has to be read before the next fault
			}
			w.Continues(t, first)
			stack.Eventually(t, time.Minute, func() error {
				if n := len(s.NodesOf(t, w.Pod.ID)); n != 1 {
					return fmt.Errorf("pod %s has machines on %d nodes", w.Pod.Name, n)
				}
				return nil
			})
			if s.NodeOf(t, w.Pod.ID).Name != before[w] {
				here++
			}
		}
		moved += here
		t.Logf("round %d, %s: %d pods have moved, %d in total, after %s", round+1, f.name, here, moved, time.Since(began).Round(time.Second))
	}
	for _, w := range s.writers {
		if err := w.Check(t); err != nil {
			t.Errorf("the volume of pod %s: %v", w.Pod.Name, err)
		}
	}
}
