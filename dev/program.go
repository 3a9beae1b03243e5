// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// Program is a daemon of the caller that uses the stack.
type Program struct {
	Name  string
	Path  string
	Args  []string
	Env   []string      // in addition to this process's own
	Grace time.Duration // between SIGTERM and SIGKILL
	// Ready succeeds when the program can be used; Timeout limits the wait.
	Ready   func(context.Context) error
	Timeout time.Duration
}

// Run starts a program on this machine, waits until it is ready and supervises it like the stack's own daemons.
// When the stack stops, it stops the programs first, the last one started first, and then its own
// daemons.
func (s *Stack) Run(ctx context.Context, p Program) error {
	c, err := s.runProgram(ctx, p, nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	stopped := s.stopping
	if !stopped {
		s.programs = append(s.programs, c)
	}
	s.mu.Unlock()
	if stopped {
		c.shutdown()
		return errors.New("the stack is stopping")
	}
	return nil
}

func (s *Stack) runProgram(ctx context.Context, p Program, h *Host) (*child, error) {
	began := time.Now()
	name := h.prefix() + p.Name
	s.step(Step{Name: name, Kind: StepStarting})
	c, err := s.spawn(ctx, spec{name: p.Name, path: p.Path, args: p.Args, env: p.Env, signal: syscall.SIGTERM, grace: p.Grace, host: h}, p.Timeout, p.Ready)
	if err == nil {
		s.step(Step{Name: name, Kind: StepReady, Took: time.Since(began)})
	}
	return c, err
}

// stopPrograms stops the programs, the last one started first.
func (s *Stack) stopPrograms() {
	s.mu.Lock()
	programs := s.programs
	s.programs = nil
	s.mu.Unlock()
	s.stopChildren(programs)
}

func (s *Stack) stopChildren(children []*child) {
	for _, c := range slices.Backward(children) {
		began := time.Now()
		s.step(Step{Name: c.name, Kind: StepStopping})
		c.shutdown()
		s.step(Step{Name: c.name, Kind: StepStopped, Took: time.Since(began)})
	}
}
