// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"husk/test/pace"
)

// Husk returns a husk command that is not started yet. It has the credentials of the tenant's
// owner.
func (tn *Tenant) Husk(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(Repository(), "bin/husk"), args...)
	cmd.Env = append(os.Environ(), "HUSK_API="+tn.Env["HUSK_API"], "HUSK_CLIENT_ID="+tn.Key.ClientID.String(), "HUSK_CLIENT_SECRET="+tn.Key.ClientSecret)
	return cmd
}

// Result is the output of a command and its exit code.
type Result struct {
	Out, Errs string
	Code      int
}

// Run runs a husk command and waits until it exits.
func (tn *Tenant) Run(t testing.TB, in io.Reader, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pace.Limit(2*time.Minute))
	defer cancel()
	cmd := tn.Husk(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("husk %v: %v", args, err)
	} else if ok && exit.ExitCode() < 0 {
		t.Fatalf("husk %v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Command is a running command. Tests can read its output while it runs.
type Command struct {
	*exec.Cmd

	mu     sync.Mutex
	output string
	done   chan struct{}
}

// Start starts a command. If it has no standard output yet, both its outputs are collected.
func Start(t testing.TB, cmd *exec.Cmd) *Command {
	t.Helper()
	c := &Command{Cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = c, c
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // ExitCode returns the result
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-c.done })
	return c
}

// Write collects output.
func (c *Command) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.output += string(p)
	return len(p), nil
}

// Output returns the output so far.
func (c *Command) Output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output
}

// Expect waits until the output contains a text.
func (c *Command) Expect(t testing.TB, text string) {
	t.Helper()
	Eventually(t, 30*time.Second, func() error {
		if now := c.Output(); !strings.Contains(now, text) {
			return fmt.Errorf("it printed %q, which does not contain %q", now, text)
		}
		return nil
	})
}

// ExitCode waits until the command has exited and returns its exit code.
func (c *Command) ExitCode(t testing.TB) int {
	t.Helper()
	select {
	case <-c.done:
		return c.ProcessState.ExitCode()
	case <-time.After(pace.Limit(time.Minute)):
		t.Fatalf("%v does not exit: %s", c.Args, c.Output())
		return 0
	}
}
