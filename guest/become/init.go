// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// InitName is argv[0] of husk-init as the init process of a container.
const InitName = "husk-container-init"

// executeInit executes husk-init again as the container's init process, so that none of its threads has more than the container is allowed. The
// arguments are the path of the command and the command's own arguments.
func executeInit(args, env []string) error {
	path, err := lookPath(args[0], env)
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(failureFD, unix.F_SETFD, 0); err != nil { // Init closes it when the command runs
		return fmt.Errorf("start the init process: %w", err)
	}
	err = syscall.Exec("/proc/self/exe", append([]string{InitName, path}, args...), env)
	unix.CloseOnExec(failureFD)
	return fmt.Errorf("start the init process: %w", err)
}

// Init is the init process of a container: it starts the command, passes signals on to it, waits for all processes that end, and ends as the
// command does. It does not return.
func Init() {
	runtime.LockOSThread() // the child that it waits for belongs to a thread
	unix.CloseOnExec(failureFD)
	received := make(chan os.Signal, 64)
	signal.Notify(received)
	pid, err := startCommand(os.Args[1], os.Args[2:])
	if err != nil {
		if report, encodeErr := json.Marshal(err); encodeErr == nil {
			unix.Write(failureFD, report)
		}
		os.Exit(err.Code)
	}
	unix.Close(failureFD) // which tells husk-init that the command runs
	for fd := range 3 {   // so that only the command holds them
		unix.Close(fd)
	}
	go passOn(received, pid)
	os.Exit(waitFor(pid))
}

// startCommand starts the command in a process group of its own, so that signals of a terminal reach it once.
func startCommand(path string, args []string) (int, *StartError) {
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil { // the terminal controls this session
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, execError(args[0], err)
	}
	return pid, nil
}

// passOn sends signals to the command. SIGURG is what the Go runtime sends itself.
func passOn(received <-chan os.Signal, pid int) {
	for s := range received {
		if number, ok := s.(syscall.Signal); ok && number != unix.SIGCHLD && number != unix.SIGURG {
			unix.Kill(pid, number)
		}
	}
}

// waitFor waits for processes until the command has ended, and returns its exit code.
func waitFor(command int) int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 126 // the command is a child until it was waited for
		case pid == command && ws.Signaled():
			return 128 + int(ws.Signal())
		case pid == command && ws.Exited():
			return ws.ExitStatus()
		}
	}
}
