// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os/exec"
	"runtime"
)

// A Forker starts processes from one dedicated OS thread.
//
// Linux sends the parent-death signal when the *thread* that forked ends, and Go moves goroutines
// between threads and ends idle threads. So one goroutine that is locked to its thread forks all
// children, and stays until none of them is needed.
type Forker struct {
	requests chan forkRequest
	done     chan struct{}
}

type forkRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

// NewForker starts the thread.
func NewForker() *Forker {
	f := &Forker{requests: make(chan forkRequest), done: make(chan struct{})}
	go f.run()
	return f
}

func (f *Forker) run() {
	// Never unlocked: the thread ends with this goroutine.
	runtime.LockOSThread()
	defer close(f.done)
	for r := range f.requests {
		r.reply <- r.cmd.Start()
	}
}

// Start starts a command.
func (f *Forker) Start(cmd *exec.Cmd) error {
	reply := make(chan error, 1)
	f.requests <- forkRequest{cmd, reply}
	return <-reply
}

// Close ends the thread, which signals every child that is still running.
func (f *Forker) Close() {
	close(f.requests)
	<-f.done
}
