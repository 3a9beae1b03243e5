// SPDX-License-Identifier: Apache-2.0

// Package resize changes the cpu and the memory of a pod's machine while it runs. A machine that becomes larger may use more memory of the node before it
// gets the memory. One that becomes smaller may use less after its guest has given the memory back, which the guest may also never do.
package resize

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
)

// How often Run looks at a machine that has not the size that it should have yet. It looks again after a quarter of the time that has passed, so that it
// sees the end of a change at most a quarter too late.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 10 * time.Second
)

func nextLook(passed time.Duration) time.Duration { return min(max(passed/4, firstLook), lastLook) }

// Machines changes virtual machines.
type Machines interface {
	Resize(ctx context.Context, pod uuid.UUID, cpus, memoryMiB int) (cpusNow, memoryNow int, err error)
	LimitMemory(ctx context.Context, pod uuid.UUID, mib int) error
}

// CPUs returns how many CPUs a machine of this size has.
func CPUs(size husk.Resources) int { return (size.CPUMillis + 999) / 1000 }

// Size is what one pod's machine has and should have. Its methods can be called at the same time.
type Size struct {
	mu       sync.Mutex
	wanted   husk.Resources
	has      husk.Resources
	mayMiB   int  // the pod's memory that the machine may take by itself, because it was offered that much
	settled  bool // the machine was asked for the size that it should have, and has it
	shareMiB int  // that the machine has in addition to the pod's memory
	overhead int  // MiB, of the node's memory for the machine in addition to the pod's
}

// Start sets the size of a machine that was just started, or was found running, and the pod's size that it should have. settled is false if its size was
// being changed when it was last looked after: has is then the most that it may have.
func (s *Size) Start(desired husk.DesiredPod, shareMiB int, has husk.Resources, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted, s.has, s.shareMiB, s.overhead = desired.Resources, has, shareMiB, desired.VMMOverheadMiB
	s.mayMiB, s.settled = max(has.MemoryMiB, s.wanted.MemoryMiB), settled && has == s.wanted
}

// Want sets the size that the machine should have. Memory that the machine was offered before, and has not taken yet, counts as taken until the offer is
// withdrawn.
func (s *Size) Want(size husk.Resources) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size == s.wanted {
		return
	}
	s.wanted, s.settled = size, false
	if size.MemoryMiB < s.mayMiB {
		s.has.MemoryMiB = s.mayMiB
	}
	s.mayMiB = max(s.mayMiB, size.MemoryMiB)
}

// Settled reports whether the machine has the size that it should have, and was not offered another one.
func (s *Size) Settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

// Has returns what the machine has.
func (s *Size) Has() husk.Resources {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has
}

// LimitMiB returns the node's memory that the machine may use: for what it has, for what it was offered, and for what it should have.
func (s *Size) LimitMiB() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayMiB + s.overhead
}

// LimitMillis returns the cpu that the machine may use, once its burst is over.
func (s *Size) LimitMillis() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted.CPUMillis
}

// Machine changes one machine.
type Machine struct {
	Machines Machines
	Guest    *guest.Client
	Pod      uuid.UUID
	Size     *Size
	Log      *slog.Logger
	LimitCPU func()      // limits the machine's cpu to Size.LimitMillis, unless it has a burst
	Resting  func() bool // whether nothing may change now, because the machine moves
	Changed  func()      // is called after each change of what the machine has

	wake chan struct{}
}

// New returns m, ready to run.
func New(m Machine) *Machine {
	m.wake = make(chan struct{}, 1)
	return &m
}

// Wake makes Run look at the size that the machine should have.
func (m *Machine) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run changes the machine until ctx ends. It begins at once, because an earlier agent may have been interrupted.
func (m *Machine) Run(ctx context.Context) {
	began := time.Now()
	for {
		done, err := m.step(ctx)
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("the size of the machine has not changed yet; retrying", "error", err)
		}
		var again <-chan time.Time
		if !done {
			again = time.After(nextLook(time.Since(began)))
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			began = time.Now()
		case <-again:
		}
	}
}

// step brings the machine closer to its size. It returns whether it has that.
func (m *Machine) step(ctx context.Context) (done bool, _ error) {
	if m.Resting() {
		return false, nil
	}
	m.Size.mu.Lock()
	wanted, had, share, settled := m.Size.wanted, m.Size.has, m.Size.shareMiB, m.Size.settled
	m.Size.mu.Unlock()
	if settled {
		return true, nil
	}
	// As in package growth, an end of ctx does not interrupt libvirt's calls.
	quiet := context.WithoutCancel(ctx)
	if err := m.Machines.LimitMemory(quiet, m.Pod, m.Size.LimitMiB()); err != nil {
		return false, err
	}
	cpus, memory, err := m.Machines.Resize(quiet, m.Pod, CPUs(wanted), wanted.MemoryMiB+share)
	if err != nil {
		return false, err
	}
	has := husk.Resources{CPUMillis: wanted.CPUMillis, MemoryMiB: memory - share}
	if cpus < CPUs(wanted) { // the machine cannot have more
		has.CPUMillis = min(wanted.CPUMillis, 1000*cpus)
	}
	m.LimitCPU()
	if over := has.MemoryMiB - wanted.MemoryMiB; over > 0 && over <= restMiB {
		has.MemoryMiB = wanted.MemoryMiB
	}
	m.Size.mu.Lock()
	if m.Size.wanted != wanted { // it has changed meanwhile
		m.Size.mu.Unlock()
		return false, nil
	}
	m.Size.has, m.Size.mayMiB = has, max(has.MemoryMiB, wanted.MemoryMiB)
	m.Size.mu.Unlock()
	if err := m.Machines.LimitMemory(quiet, m.Pod, m.Size.LimitMiB()); err != nil {
		return false, err
	}
	if has != had {
		m.Log.Info("the machine has another size", "cpu_millis", has.CPUMillis, "memory_mib", has.MemoryMiB)
		m.Changed()
	}
	// After the size is recorded: a guest that refuses, and takes the memory all the same, is billed for it.
	if err := m.tellGuest(ctx, min(cpus, CPUs(wanted))); err != nil || has != wanted {
		return false, err
	}
	m.Size.mu.Lock()
	done = m.Size.wanted == wanted && m.Size.has == has // nobody has changed it meanwhile
	m.Size.settled = done
	m.Size.mu.Unlock()
	m.Changed()
	return done, nil
}

// restMiB is how much more memory than it should a machine may keep: memory is plugged in blocks of 4 MiB, and one or two often hold something that Linux
// cannot move. It is less than what the limit of the machine's process allows in addition.
const restMiB = 8

// tellGuest lets the guest use CPUs and memory. One of an earlier version does not know how.
func (m *Machine) tellGuest(ctx context.Context, cpus int) error {
	err := m.Guest.Resize(ctx, cpus)
	if refused, ok := errors.AsType[*guest.CallError](err); ok && refused.Code == guest.CodeInvalid {
		m.Log.Warn("the guest cannot use another size before the next start of the pod", "why", refused.Message)
		return nil
	}
	return err
}
