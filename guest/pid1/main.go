// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// Main runs PID 1 and does not return. Fatal errors are panics: the kernel's command line makes a
// panic end the VM, and the console has the reason.
func Main() {
	if os.Getpid() != 1 {
		// Elsewhere it would mount over the running system.
		fmt.Fprintln(os.Stderr, "husk-init: this program only runs as the first process of a pod's virtual machine")
		os.Exit(1)
	}
	// The first thread stays unchanged: other threads enter containers (see execchild.go) and end, and
	// this one cannot end.
	runtime.LockOSThread()
	// The heap is a few hundred kilobytes and uses the pod's memory.
	debug.SetGCPercent(50)
	mountKernel()
	loadModules(earlyModules)
	openConsole()
	up := bootTime()
	fmt.Println("husk-init: up")
	mountRest()
	l := &linux{reap: newReaper(), modules: make(chan struct{})}
	go func() {
		defer close(l.modules)
		loadModules(lateModules)
	}()
	p := newPod(l, bootID(), func() guest.Hello {
		return guest.Hello{InitUpMillis: up.Milliseconds(), UptimeMillis: bootTime().Milliseconds()}
	})
	port := openPort()
	go func() {
		err := guest.Serve(context.Background(), port, p)
		panic(fmt.Sprintf("husk-init: guest channel: %v", err))
	}()
	select {}
}

// bootTime returns the time since the kernel started.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < 36 {
		panic(fmt.Sprintf("husk-init: boot id: %v", err))
	}
	return string(b[:36])
}

// warn prints a warning about something that the pod can run without.
func warn(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "husk-init: "+format+"\n", args...)
}
