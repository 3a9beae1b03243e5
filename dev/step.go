// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// StepKind says what a Step reports.
type StepKind string

// The kinds of steps, in the order in which a part usually goes through them.
const (
	StepStarting  StepKind = "starting"
	StepReady     StepKind = "ready"
	StepCrashed   StepKind = "crashed"
	StepRestarted StepKind = "restarted"
	StepStopping  StepKind = "stopping"
	StepStopped   StepKind = "stopped"
	StepNote      StepKind = "note"
)

// Step is one event of a part of the stack or one of its children.
type Step struct {
	Name   string // "postgres", "ceph", "ceph-osd", …
	Kind   StepKind
	Took   time.Duration // set if the kind ends something that took time
	Detail string        // what a reader should know or do, may be empty
}

// String returns the line that a terminal shows.
func (s Step) String() string {
	line := fmt.Sprintf("%-10s %s", s.Name, s.Kind)
	if s.Kind == StepNote {
		line = fmt.Sprintf("%-10s", s.Name)
	}
	if s.Took > 0 {
		line += fmt.Sprintf(" in %.1fs", s.Took.Seconds())
	}
	if s.Detail != "" {
		line += " " + s.Detail
	}
	return line
}

// Lines returns a Config.Progress that writes one line per step.
func Lines(w io.Writer) func(Step) {
	var mu sync.Mutex
	return func(s Step) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(w, s) // a closed terminal must not stop the stack
	}
}
