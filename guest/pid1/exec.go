// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/become"
	"husk/session"
	"husk/signals"
)

const (
	// hangupGrace is how long a command may take to end after SIGHUP when its client has gone.
	hangupGrace = 5 * time.Second
	// stuckInput is how long a command may leave its input unread until husk-init checks whether
	// its client is still there. Behind unread input, the end of the stream cannot be noticed.
	stuckInput = 10 * time.Second
	// outputPause is how long output may pause after the command has ended, if processes that it
	// started keep the output open. Then the output counts as complete.
	outputPause = 100 * time.Millisecond
)

// job is a command that runs in addition to a container's own process.
type job struct {
	reap   *reaper
	pid    int
	died   <-chan unix.WaitStatus
	group  cgroup
	tty    *os.File // the terminal's master; nil without one
	stdin  *os.File // nil: none
	output map[session.Kind]*os.File
	ended  atomic.Bool
}

func (l *linux) exec(c guest.Container, in process, e guest.Exec, accept guest.Accept) error {
	k, ok := in.(*child)
	if !ok {
		return errors.New("not a container of this machine")
	}
	j, err := l.startJob(k, c, e)
	if err != nil {
		return asCall(err)
	}
	defer j.close()
	conn, err := accept()
	if err != nil {
		j.hangUp()
		return nil
	}
	return j.serve(conn)
}

// asCall converts the reason why a command did not start to a CallError.
func asCall(err error) error {
	var start *become.StartError
	switch {
	case errors.As(err, &start) && start.Code == 127:
		return &guest.CallError{Code: guest.CodeNoCommand, Message: start.Message}
	case errors.As(err, &start):
		return &guest.CallError{Code: guest.CodeNotExecutable, Message: start.Message}
	case errors.Is(err, unix.ESRCH): // it has just ended
		return &guest.CallError{Code: guest.CodeNotRunning, Message: "the container has ended"}
	default:
		return err
	}
}

// startJob starts a command in a container and returns once it runs or has failed to start.
func (l *linux) startJob(k *child, c guest.Container, e guest.Exec) (_ *job, err error) {
	l.mu.Lock()
	l.runs++
	name, hostname := k.group.name+"/exec."+strconv.Itoa(l.runs), l.spec.Hostname
	l.mu.Unlock()
	if e.User != "" {
		c.User = e.User
	}
	if e.WorkingDir != "" {
		c.WorkingDir = e.WorkingDir
	}
	c.Args = e.Args
	if e.TTY {
		c.Env = append([]string{"TERM=xterm"}, c.Env...)
	}
	c.Env = append(slices.Clip(c.Env), e.Env...)
	c.Files, c.Mounts, c.InitProcess = nil, nil, false
	j := &job{reap: l.reap, output: map[session.Kind]*os.File{}}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if j.group, err = newCgroup(name); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	failure, err := l.forkJob(k, j, become.Config{Container: c, Hostname: hostname}, e)
	if err != nil {
		return nil, err
	}
	defer failure.Close()
	// The pipe closes without data if exec succeeds.
	slow := time.AfterFunc(startTime, j.group.kill)
	report, err := io.ReadAll(io.LimitReader(failure, 64<<10))
	if !slow.Stop() {
		err = errors.Join(err, fmt.Errorf("the command was not started within %s", startTime))
	}
	if err == nil && len(report) == 0 {
		return j, nil
	}
	<-j.died
	if err == nil {
		start := new(become.StartError)
		if err = json.Unmarshal(report, start); err == nil {
			err = start
		}
	}
	return nil, err
}

// startTime is how long a command may take until it runs. The container can make it wait, for example with
// a pipe in place of its list of users.
const startTime = 30 * time.Second

// forkJob forks the command's process into the container and returns the pipe on which it reports
// errors.
func (l *linux) forkJob(k *child, j *job, config become.Config, e guest.Exec) (_ *os.File, err error) {
	var theirs []*os.File // standard input, output and error, configuration, failure
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	if !e.TTY {
		if theirs, err = j.pipes(e.Stdin); err != nil {
			return nil, err
		}
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	memory, err := memoryFile(encoded)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, memory)
	failure, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, w)
	group, err := j.group.open()
	if err != nil {
		failure.Close()
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	defer unix.Close(group)
	attr := &syscall.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: group}}
	err = k.inside(func() error {
		if e.TTY {
			slave, err := j.terminal(e.Size)
			if err != nil {
				return &become.StartError{Code: 126, Message: fmt.Sprintf("no terminal: %v", err)}
			}
			defer slave.Close()
			attr.Files = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
			attr.Sys.Setctty = true
		}
		for _, f := range theirs {
			attr.Files = append(attr.Files, f.Fd())
		}
		var err error
		j.pid, j.died, err = l.reap.start(func() (int, error) {
			return syscall.ForkExec("/proc/self/exe", []string{become.CommandName}, attr)
		})
		return err
	})
	if err != nil {
		failure.Close()
		return nil, err
	}
	return failure, nil
}

// pipes connects a command without a terminal, and returns the command's ends.
func (j *job) pipes(input bool) (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range theirs {
				f.Close()
			}
		}
	}()
	var in *os.File
	if input {
		in, j.stdin, err = os.Pipe()
	} else {
		in, err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, err
	}
	theirs = []*os.File{in}
	for _, kind := range []session.Kind{session.Stdout, session.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		j.output[kind], theirs = r, append(theirs, w)
	}
	return theirs, nil
}

// terminal makes a terminal in the container and returns the command's end. It runs inside the
// container.
func (j *job) terminal(size session.Size) (slave *os.File, err error) {
	if j.tty, slave, err = become.OpenTerminal(); err != nil {
		return nil, err
	}
	j.output[session.Stdout] = j.tty
	setSize(j.tty, size)
	return slave, nil
}

// serve connects a running command with its exec session until the command has ended.
func (j *job) serve(conn session.Conn) error {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		j.input(conn)
		conn.Close() // unblocks senders to a client that has gone
	}()
	copied := make(chan struct{}, len(j.output))
	for kind, f := range j.output {
		go func() {
			j.copyOutput(conn, kind, f)
			copied <- struct{}{}
		}()
	}
	var ws unix.WaitStatus
	select {
	case ws = <-j.died:
	case <-gone:
		j.hangUp()
		return nil
	}
	j.ended.Store(true)
	for _, f := range j.output {
		f.SetReadDeadline(time.Now().Add(outputPause)) // wakes readers that wait for more
	}
	for range j.output {
		<-copied
	}
	status := session.Status{Code: ws.ExitStatus()}
	if ws.Signaled() {
		status.Signal = int(ws.Signal())
		status.Code = 128 + status.Signal
	}
	session.SendExit(conn, status)
	return nil
}

// hangUp ends a command whose client has gone.
func (j *job) hangUp() {
	if j.tty != nil {
		j.tty.Close() // the kernel sends the signal
	}
	j.reap.signal(-j.pid, unix.SIGHUP)
	select {
	case <-j.died:
	case <-time.After(hangupGrace):
		j.group.kill()
		<-j.died
	}
}

// input receives the client's input until the session ends.
func (j *job) input(conn session.Conn) {
	for {
		f, err := conn.Receive()
		if err != nil {
			return
		}
		switch f.Kind {
		case session.Stdin:
			if !j.write(conn, f.Payload) {
				return
			}
		case session.EOF:
			if j.tty != nil {
				j.write(conn, []byte{4}) // Ctrl-D, the end of input of a terminal
			} else if j.stdin != nil {
				j.stdin.Close() // further input is dropped
			}
		case session.Resize:
			if size, err := session.ParseSize(f.Payload); err == nil {
				setSize(j.tty, size)
			}
		case session.Signal:
			if n, err := signals.Parse(string(f.Payload)); err == nil && !j.ended.Load() {
				j.reap.signal(-j.pid, unix.Signal(n))
			}
		default:
			return
		}
	}
}

// write passes input on. It returns false if the client has gone.
func (j *job) write(conn session.Conn, p []byte) bool {
	if j.tty != nil {
		return feed(conn, j.tty, p)
	}
	return feed(conn, j.stdin, p)
}

// feed writes input to a pipe or a terminal, if there is one. It drops input that is no longer
// read. It returns false if the client has gone.
func feed(conn session.Conn, to *os.File, p []byte) bool {
	for to != nil && len(p) > 0 {
		to.SetWriteDeadline(time.Now().Add(stuckInput))
		n, err := to.Write(p)
		p = p[n:]
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return true
		case conn.Send(session.Stdout, nil) != nil:
			return false
		}
	}
	return true
}

// copyOutput sends output until it ends. A client that reads nothing blocks it, and with it the
// command.
func (j *job) copyOutput(conn session.Conn, kind session.Kind, f *os.File) {
	buf := make([]byte, session.Chunk)
	for {
		if j.ended.Load() {
			f.SetReadDeadline(time.Now().Add(outputPause))
		}
		n, err := f.Read(buf)
		if n > 0 && conn.Send(kind, buf[:n]) != nil {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !j.ended.Load() {
			continue
		}
		if err != nil { // also if a terminal is no longer open anywhere
			return
		}
	}
}

func (j *job) close() {
	if j.stdin != nil {
		j.stdin.Close()
	}
	for _, f := range j.output {
		f.Close()
	}
	if j.group.dir != "" {
		j.group.removeIfEmpty()
	}
}
