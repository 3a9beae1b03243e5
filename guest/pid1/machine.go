// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"time"

	"husk/guest"
	"husk/guest/become"
)

// machine is what a pod's lifecycle needs from its VM. Tests replace it.
type machine interface {
	// prepare sets up hostname, network, image disks and volumes.
	prepare(ctx context.Context, spec guest.Spec) error
	// launch starts a container. An error means that its command did not run.
	launch(c guest.Container, io *stdio) (process, *become.StartError)
	// The streams, in a running container; see guest.Handler.
	exec(c guest.Container, in process, e guest.Exec, accept guest.Accept) error
	forward(network *guest.Network, port int, accept guest.Accept) error
	copyOut(in process, what guest.Copy, accept guest.Accept) error
	copyIn(c guest.Container, in process, where guest.Copy, accept guest.Accept) error
	// act does an action of a probe or a hook. It returns why the action failed.
	act(ctx context.Context, c guest.Container, in process, network *guest.Network, a guest.Action) error
	// update replaces the files of a volume in memory.
	update(volume string, files []guest.File) error
	// grow makes the file system of a volume, by its serial, as large as its disk, which gets this size in bytes.
	grow(ctx context.Context, serial string, size int64) error
	// resize uses so many CPUs, and memory that the machine gets later.
	resize(ctx context.Context, cpus int) error
	// freeze and thaw are those of guest.Handler.
	freeze(serial string) error
	thaw(serial string) error
	// adjustClock adds a duration to the clock.
	adjustClock(by time.Duration) error
	// stats returns the usage of the machine and the running containers.
	stats(running map[string]process) guest.Stats
	// release unmounts the volumes. No container runs at that time.
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
	message   string // what the container wrote to its termination message
}
