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

// Main runs PID 1 and does not return. Whatever it cannot do without ends in a
// panic: the kernel's command line makes that the end of the VM, and the
// console holds the reason.
func Main() {
	if os.Getpid() != 1 {
		// It would mount over whatever system this is.
		fmt.Fprintln(os.Stderr, "husk-init: this is the first process of a pod's machine; it does nothing elsewhere")
		os.Exit(1)
	}
	// The first thread stays as it is: others enter containers, see enter.go,
	// and end; this one cannot end.
	runtime.LockOSThread()
	// The heap is a few hundred kilobytes and the pod pays for it.
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

// bootTime is the time since the kernel started.
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

// warn tells the console about what the pod can live without.
func warn(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "husk-init: "+format+"\n", args...)
}
