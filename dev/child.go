// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// spec describes how to run one daemon in the foreground.
type spec struct {
	name       string
	path       string
	args       []string
	env        []string
	credential *syscall.Credential // nil: this process's own
	signal     syscall.Signal      // for a clean stop; also the parent-death signal
	grace      time.Duration       // after which it gets SIGKILL
	host       *Host               // nil: this machine
	// again sets up what the daemon loses when it ends. It is repeated after each restart until it succeeds. It may be nil.
	again func(context.Context) error
}

// child is a supervised daemon.
type child struct {
	spec
	stack *Stack
	now   *running
	stop  chan struct{} // closed: stop and do not restart
	done  chan struct{} // closed: the supervising goroutine has ended
	pid   atomic.Int64  // of the newest process
	lost  atomic.Bool   // its host has no power, so it is not stopped in order
	hold  latch
}

// running is one process of a child.
type running struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; read after exited
}

// Restart backoff. It starts again at the minimum after a daemon has run longer than the maximum.
const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 5 * time.Second // a person or a test waits for a development machine
)

// spawn starts a daemon and waits until probe succeeds. It supervises the daemon only after that:
// if the daemon fails during its first start, Start returns an error.
func (s *Stack) spawn(ctx context.Context, sp spec, timeout time.Duration, probe func(context.Context) error) (*child, error) {
	c := &child{spec: sp, stack: s, stop: make(chan struct{}), done: make(chan struct{})}
	if sp.host != nil {
		c.name = sp.host.prefix() + sp.name
	}
	life, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	c.now = life
	if err := c.ready(ctx, life, timeout, probe); err != nil {
		c.end(life)
		close(c.done)
		return nil, err
	}
	s.track(c)
	go c.supervise()
	return c, nil
}

func (c *child) logPath() string { return c.stack.dir.join("log", c.name+".log") }

// maxLog is the size of a log above which the next start renames it.
const maxLog = 16 << 20

func (c *child) launch() (*running, error) {
	if info, err := os.Stat(c.logPath()); err == nil && info.Size() > maxLog {
		_ = os.Rename(c.logPath(), c.logPath()+".1")
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()                      // the child has its own copy
	cmd := exec.Command(c.path, c.args...) //nolint:noctx // it is stopped in order, not by a context
	cmd.Dir = c.stack.dir.path
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:  c.signal,
		Setpgid:    true, // so that Ctrl-C reaches only this process, which stops them in order
		Credential: c.credential,
	}
	if err := c.fork(cmd); err != nil {
		return nil, err
	}
	c.pid.Store(int64(cmd.Process.Pid))
	life := &running{cmd: cmd, exited: make(chan struct{})}
	rec, err := newRecord(c.name, cmd.Process.Pid, c.signal)
	switch {
	case err == nil:
		err = rec.write(c.stack.dir.path)
	case errors.Is(err, os.ErrNotExist):
		err = nil // it has already ended, which supervise or ready reports
	}
	go func() {
		life.err = cmd.Wait()
		close(life.exited)
	}()
	if err != nil {
		c.end(life)
		return nil, err
	}
	return life, nil
}

// fork starts a process on this machine or in the child's host.
func (c *child) fork(cmd *exec.Cmd) error {
	if c.host != nil {
		return c.host.fork(cmd)
	}
	return c.stack.forker.Start(cmd)
}

// ready polls until the probe succeeds, the daemon ends, or the timeout is over.
func (c *child) ready(ctx context.Context, life *running, timeout time.Duration, probe func(context.Context) error) error {
	err := poll(ctx, timeout, life.exited, probe)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errGone):
		return fmt.Errorf("%s ended while starting (%w)%s", c.name, life.err, c.logTail())
	case ctx.Err() != nil:
		return fmt.Errorf("start %s: %w", c.name, ctx.Err())
	default:
		return fmt.Errorf("%s is not ready after %s: %w%s", c.name, timeout, err, c.logTail())
	}
}

var errGone = errors.New("gone")

// poll calls probe until it succeeds. It returns the probe's last error after the timeout, and
// errGone when gone closes.
func poll(ctx context.Context, timeout time.Duration, gone <-chan struct{}, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not probed yet")
	for {
		if err := probe(ctx); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-gone:
			return errGone
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

// logTail returns the end of the daemon's log, for an error message.
func (c *child) logTail() string {
	data, err := os.ReadFile(c.logPath())
	if err != nil || len(data) == 0 {
		return "; nothing in " + c.logPath()
	}
	lines := strings.Split(string(bytes.TrimSpace(data)), "\n")
	lines = lines[max(0, len(lines)-5):]
	return fmt.Sprintf("; the end of %s:\n\t%s", c.logPath(), strings.Join(lines, "\n\t"))
}

// supervise owns the child from ready to stop.
func (c *child) supervise() {
	defer close(c.done)
	defer c.stack.untrack(c)
	backoff := backoffMin
	for {
		began := time.Now()
		select {
		case <-c.stop:
			c.end(c.now)
			return
		case <-c.now.exited:
		}
		if time.Since(began) > backoffMax {
			backoff = backoffMin
		}
		if c.hold.on() {
			c.stack.step(Step{Name: c.name, Kind: StepNote, Detail: "killed, and not restarted before it is released"})
			if !c.hold.await(c.stop) {
				c.forget()
				return
			}
		}
		c.stack.step(Step{Name: c.name, Kind: StepCrashed, Detail: fmt.Sprintf("(%v), restarting in %s; log: %s", c.now.err, backoff, c.logPath())})
		for {
			if !c.pause(backoff) {
				return
			}
			backoff = min(2*backoff, backoffMax)
			life, err := c.launch()
			if err == nil {
				c.now = life
				break
			}
			c.stack.step(Step{Name: c.name, Kind: StepCrashed, Detail: fmt.Sprintf("(%v), retrying in %s", err, backoff)})
		}
		c.stack.step(Step{Name: c.name, Kind: StepRestarted, Detail: fmt.Sprintf("as pid %d", c.now.cmd.Process.Pid)})
		if c.again != nil {
			c.setUpAgain()
		}
	}
}

// againTime limits how long a daemon may take until what it lost can be set up again.
const againTime = 20 * time.Second

// setUpAgain returns at the latest when the daemon ends or is to stop.
func (c *child) setUpAgain() {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel()
	if err := poll(ctx, againTime, c.now.exited, c.again); err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
		c.stack.step(Step{Name: c.name, Kind: StepNote, Detail: fmt.Sprintf("could not be set up again: %v", err)})
	}
}

// pause waits for the backoff. It returns false if the child should stop instead.
func (c *child) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.stop:
		c.forget()
		return false
	case <-timer.C:
		return true
	}
}

// end stops one process and returns when it is gone.
func (c *child) end(life *running) {
	sig := c.signal
	if c.lost.Load() {
		sig = syscall.SIGKILL
	}
	_ = life.cmd.Process.Signal(sig) // it may already be gone
	timer := time.NewTimer(c.grace)
	defer timer.Stop()
	select {
	case <-life.exited:
	case <-timer.C:
		c.stack.step(Step{Name: c.name, Kind: StepNote, Detail: fmt.Sprintf("did not stop within %s, killing it", c.grace)})
		_ = life.cmd.Process.Kill()
		<-life.exited
	}
	c.forget()
}

func (c *child) forget() { _ = os.Remove(recordPath(c.stack.dir.path, c.name)) }

// shutdown stops the child and waits for it.
func (c *child) shutdown() {
	close(c.stop)
	<-c.done
}
