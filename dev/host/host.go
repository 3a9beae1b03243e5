// SPDX-License-Identifier: Apache-2.0

// Package host runs computers of a fleet on one machine. A host has a network, mounts, processes, a
// host name and a cgroup of its own. Programs in it see nothing of other hosts, and several libvirts
// and agents can run at the same time.
//
// Process 1 of a host (init.go) sets the host up and then only waits: when it ends, the kernel ends
// every process of the host. That is how Kill takes the host's power away. Nothing of a host
// outlives the process that started it.
//
// The package does not connect hosts; package fabric does.
package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what a host has.
type Config struct {
	Name string // its host name
	// Binds are directories that keep their content while the host is off: the path in the host, and
	// the directory that is mounted there.
	Binds map[string]string
	// Temporary are directories that are empty whenever the host starts.
	Temporary []string
	// Cgroup is the path of the host's group below the root of each hierarchy. Two hosts must not
	// have the same.
	Cgroup string
}

// Host is a host that is on.
type Host struct {
	name   string
	init   *exec.Cmd
	pids   string // identifies its PID namespace
	groups groups

	tasks chan func() // run on the thread that is in the host's namespaces
	ended chan struct{}
}

// bootTime limits how long process 1 may take to set the host up.
const bootTime = 20 * time.Second

// Start switches a host on. fork must start the command on a thread that lives as long as the host;
// when the thread ends, the host ends.
func Start(fork func(*exec.Cmd) error, cfg Config) (*Host, error) {
	h := &Host{name: cfg.Name, groups: groupsAt(cfg.Cgroup), tasks: make(chan func()), ended: make(chan struct{})}
	if err := h.groups.create(); err != nil {
		return nil, fmt.Errorf("cgroups of host %s: %w", cfg.Name, err)
	}
	if err := h.boot(fork, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start host %s: %w", cfg.Name, err), h.groups.remove())
	}
	entered := make(chan error)
	go h.run(entered)
	if err := <-entered; err != nil {
		return nil, errors.Join(fmt.Errorf("enter host %s: %w", cfg.Name, err), h.Close())
	}
	return h, nil
}

// boot starts process 1 and waits until it has set the host up.
func (h *Host) boot(fork func(*exec.Cmd) error, cfg Config) error {
	request, err := json.Marshal(initRequest{cfg, h.groups.folders})
	if err != nil {
		return err
	}
	report, answer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()
	h.init = exec.Command("/proc/self/exe") //nolint:noctx // Close ends it
	h.init.Env = append(os.Environ(), initVariable+"="+string(request))
	h.init.ExtraFiles = []*os.File{answer}
	h.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL, Setpgid: true,
	}
	err = fork(h.init)
	err = errors.Join(err, answer.Close())
	if err != nil {
		return err
	}
	// The pipe ends when process 1 has become the program that waits, or has failed.
	err = report.SetReadDeadline(time.Now().Add(bootTime))
	var text []byte
	if err == nil {
		text, err = io.ReadAll(report)
	}
	if err == nil && len(text) > 0 {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	if err == nil {
		h.pids, err = os.Readlink(h.namespace("pid"))
	}
	if err != nil {
		_ = h.init.Process.Kill() // it may have ended by itself
		_ = h.init.Wait()
	}
	return err
}

func (h *Host) namespace(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", h.PID(), kind) }

// run keeps one thread in the host's namespaces, and runs the tasks on it. A child gets the
// namespaces and the cgroups of the thread that forks it, and a socket the network.
func (h *Host) run(entered chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// Go never ends the main thread, so it cannot leave the host again. While it waits here, another one enters.
		done := make(chan struct{})
		go func() { defer close(done); h.run(entered) }()
		<-done
		runtime.UnlockOSThread()
		return
	}
	// The thread is never unlocked, so it ends with this goroutine.
	defer close(h.ended)
	entered <- h.enter()
	for task := range h.tasks {
		task()
	}
}

func (h *Host) enter() error {
	// A thread that shares its root and working directory with others cannot change its mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the root directory: %w", err)
	}
	if err := h.groups.enter(); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		flag int
	}{{"cgroup", unix.CLONE_NEWCGROUP}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}} {
		fd, err := unix.Open(h.namespace(kind.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(fd, kind.flag), unix.Close(fd))
		}
		if err != nil {
			return fmt.Errorf("namespace %s: %w", kind.name, err)
		}
	}
	return nil
}

// Do runs f on a thread in the host's namespaces. A socket that f opens belongs to the host. The
// thread is in the PID namespace only for its children.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	h.tasks <- func() { done <- f() }
	return <-done
}

// Fork starts a command in the host. A parent-death signal is neither needed, because the command ends with the host, nor possible: Go sends
// it to every command that cannot see its parent.
func (h *Host) Fork(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = 0
	h.groups.adopt(cmd.SysProcAttr)
	return h.Do(cmd.Start)
}

// Name returns the host name.
func (h *Host) Name() string { return h.name }

// PID returns the process ID of the host's process 1, as this process sees it.
func (h *Host) PID() int { return h.init.Process.Pid }

// Path returns the path under which this process reaches a file of the host.
func (h *Host) Path(name string) string { return fmt.Sprintf("/proc/%d/root%s", h.PID(), name) }

// Kill takes the host's power away: all its processes end at once, without a chance to do anything.
// Call Close afterwards.
func (h *Host) Kill() error { return h.init.Process.Kill() }

// Close ends the host and returns when nothing is left of it. The parents of processes that were
// started with Fork must wait for them.
func (h *Host) Close() error {
	_ = h.Kill()      // it may have ended
	_ = h.init.Wait() // ends when no process is left in the host
	close(h.tasks)
	<-h.ended
	return h.groups.remove()
}
