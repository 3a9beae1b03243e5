// SPDX-License-Identifier: Apache-2.0

// Package lifetime keeps the deadlines of a pod's virtual machine: when it may start again, how long its guest may take to respond, and how
// long it may use its processors without the pod's limit. They are times, not timers, so a worker that is woken does not begin them again.
// Nor does an agent that is restarted, except for SilencePatience and AdoptedPatience. The package does no I/O. Package nodeagent stores a
// State together with its other knowledge about the pod.
package lifetime

import "time"

const (
	// BurstPerStart is how long a booting machine may use its processors without the pod's cpu limit. A boot uses about two seconds of one
	// core, which would take 20 s with a limit of a tenth of a core.
	BurstPerStart = 20 * time.Second
	// burstBudget is for all starts of a pod's machine. A second of it takes burstRefill to come back. A guest can make its machine start
	// again and again, but then the machine soon gets no burst.
	burstBudget = time.Minute
	burstRefill = time.Minute
	// shortestBurst is the shortest burst that helps a boot.
	shortestBurst = 5 * time.Second

	// AdoptedPatience is how long a guest may take to respond to a new agent if the time for its boot is over. The previous agent may not
	// have noticed that it responded.
	AdoptedPatience = 10 * time.Second
	// SilencePatience is how long a guest that has responded before may take to respond again.
	SilencePatience = 30 * time.Second

	maxRestartDelay = 5 * time.Minute
)

// State is what an agent remembers about a machine across its restarts.
type State struct {
	// NotBefore is when the machine may be started again.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// LimitedFrom is when the cpu limit of the current machine begins.
	LimitedFrom time.Time `json:"limitedFrom,omitzero"`
	// BurstSpent is how much of the budget was used up at the time BurstAt.
	BurstSpent time.Duration `json:"burstSpent,omitempty"`
	BurstAt    time.Time     `json:"burstAt,omitzero"`
}

// Died notes that the machine has ended unexpectedly for the nth time, and returns how long its next start must wait.
func (s *State) Died(now time.Time, n int) time.Duration {
	delay := restartDelay(n)
	s.NotBefore = now.Add(delay)
	return delay
}

// StartIn returns how long the next start must wait. A clock that was set back cannot make it longer than the longest delay.
func (s *State) StartIn(now time.Time) time.Duration {
	return max(0, min(s.NotBefore.Sub(now), maxRestartDelay))
}

// restartDelay is the wait before the nth restart of a machine that ended unexpectedly: 0, then 1 s, then twice as long each time, up to 5
// minutes, as for containers.
func restartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(time.Second<<min(n-2, 20), maxRestartDelay)
}

// Start takes a burst from the budget, for a machine that starts now, and returns it. If it is 0, the limit must be set before the machine
// starts.
func (s *State) Start(now time.Time) time.Duration {
	s.BurstSpent = max(0, s.BurstSpent-max(0, now.Sub(s.BurstAt))/(burstRefill/time.Second))
	s.BurstAt = now
	burst := min(BurstPerStart, burstBudget-s.BurstSpent)
	if burst < shortestBurst {
		burst = 0
	}
	s.BurstSpent += burst
	s.LimitedFrom = now.Add(burst)
	return burst
}

// Limit ends the burst of the current machine, and returns the rest of it to the budget.
func (s *State) Limit(now time.Time) {
	if rest := s.UnlimitedFor(now); rest > 0 {
		s.BurstSpent = max(0, s.BurstSpent-rest)
		s.LimitedFrom = now
	}
}

// UnlimitedFor returns how much longer the current machine may use its processors without the limit.
func (s *State) UnlimitedFor(now time.Time) time.Duration {
	return max(0, min(s.LimitedFrom.Sub(now), BurstPerStart))
}

// Machine is a machine whose guest does not respond at the moment.
type Machine struct {
	Started     time.Time // when it was started; zero if nobody knows
	HasAnswered bool      // it has booted
	Adopted     bool      // a previous agent has started it
	SilentSince time.Time // when this agent began to wait
}

// AnswerBy returns when the guest must have responded.
func (m Machine) AnswerBy(bootTimeout time.Duration) time.Time {
	if m.HasAnswered {
		return m.SilentSince.Add(SilencePatience)
	}
	latest := m.SilentSince.Add(bootTimeout) // a limit, because the clock may have been set back since the start
	if m.Started.IsZero() {
		return latest
	}
	by := m.Started.Add(bootTimeout)
	if m.Adopted {
		by = later(by, m.SilentSince.Add(AdoptedPatience))
	}
	if by.After(latest) {
		return latest
	}
	return by
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
