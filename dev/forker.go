// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"os/exec"
	"runtime"
)

// A forker starts processes from one dedicated OS thread.
//
// Linux sends the parent-death signal when the *thread* that forked ends, and Go moves goroutines
// between threads and ends idle threads. So one goroutine that is locked to its thread forks all
// children, and stays until none of them is needed.
type forker struct {
	requests chan forkRequest
	done     chan struct{}
}

type forkRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func newForker() *forker {
	f := &forker{requests: make(chan forkRequest), done: make(chan struct{})}
	go f.run()
	return f
}

func (f *forker) run() {
	// Never unlocked: the thread ends with this goroutine.
	runtime.LockOSThread()
	defer close(f.done)
	for r := range f.requests {
		r.reply <- r.cmd.Start()
	}
}

func (f *forker) start(cmd *exec.Cmd) error {
	reply := make(chan error, 1)
	f.requests <- forkRequest{cmd, reply}
	return <-reply
}

// close ends the thread, which signals every child that is still running.
func (f *forker) close() {
	close(f.requests)
	<-f.done
}
