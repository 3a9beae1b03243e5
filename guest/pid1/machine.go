// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"

	"husk/guest"
)

// machine is what a pod's lifecycle needs from its VM. Tests replace it.
type machine interface {
	// prepare sets up hostname, network, image disks and volumes.
	prepare(ctx context.Context, spec guest.Spec) error
	// launch starts a container. An error means that its command did not run.
	launch(c guest.Container, io *stdio) (process, *startError)
	// The streams, in a running container; see guest.Handler.
	exec(c guest.Container, in process, e guest.Exec, accept guest.Accept) error
	forward(network *guest.Network, port int, accept guest.Accept) error
	copyOut(in process, what guest.Copy, accept guest.Accept) error
	copyIn(c guest.Container, in process, where guest.Copy, accept guest.Accept) error
	// update replaces the files of a volume in memory.
	update(volume string, files []guest.File) error
	// stats returns the usage of the machine and the running containers.
	stats(running map[string]process) guest.Stats
	// release syncs and unmounts the volumes. No container runs at that time.
	release() error
	// powerOff does not return on a real machine.
	powerOff()
}

// process is a running container.
type process interface {
	signal(sig int)
	kill() // the whole container, at once
	// wait returns when every process has ended and all output is in the ring. It is called once.
	wait() exit
}

// exit is how a run ended.
type exit struct {
	code      int // 128+signal if killed
	signal    int
	oomKilled bool
}

// startError is why a container's command did not run.
type startError struct {
	Code    int    `json:"code"` // as a shell would exit: 127 not found, 126 otherwise
	Message string `json:"message"`
}

func (e *startError) Error() string { return e.Message }
