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

// Run starts a program, waits until it is ready and supervises it like the stack's own daemons.
// When the stack stops, it stops the programs first, the last one started first, and then its own
// daemons.
func (s *Stack) Run(ctx context.Context, p Program) error {
	began := time.Now()
	s.step(Step{Name: p.Name, Kind: StepStarting})
	c, err := s.spawn(ctx, spec{name: p.Name, path: p.Path, args: p.Args, env: p.Env, signal: syscall.SIGTERM, grace: p.Grace}, p.Timeout, p.Ready)
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
	s.step(Step{Name: p.Name, Kind: StepReady, Took: time.Since(began)})
	return nil
}

// stopPrograms stops the programs, the last one started first.
func (s *Stack) stopPrograms() {
	s.mu.Lock()
	s.stopping = true
	programs := s.programs
	s.programs = nil
	s.mu.Unlock()
	for _, program := range slices.Backward(programs) {
		began := time.Now()
		s.step(Step{Name: program.name, Kind: StepStopping})
		program.shutdown()
		s.step(Step{Name: program.name, Kind: StepStopped, Took: time.Since(began)})
	}
}
