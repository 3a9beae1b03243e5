// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/dev"
)

// startRegistry starts a stack with only a registry.
func startRegistry(t *testing.T) (stack *dev.Stack, stateDir string) {
	t.Helper()
	stateDir, err := os.MkdirTemp("", "huskd") // shorter than t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(stateDir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	stack, err = dev.Start(context.Background(), dev.Config{StateDir: stateDir, Parts: dev.Registry, RegistryPort: port, Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return stack, stateDir
}

func TestDetachWaitsForAProcessThatIsStarting(t *testing.T) {
	stack, dir := startRegistry(t)
	brief := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if up, err := awaitHolder(brief(), dir); up || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it starts: %t, %v", up, err)
	}
	type result struct {
		up  bool
		err error
	}
	waited := make(chan result, 1)
	go func() {
		up, err := awaitHolder(t.Context(), dir)
		waited <- result{up, err}
	}()
	if err := stack.SetUp(); err != nil {
		t.Fatal(err)
	}
	if got := <-waited; !got.up || got.err != nil {
		t.Errorf("once everything is up: %+v", got)
	}
	if err := stack.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if up, err := awaitHolder(t.Context(), dir); up || err != nil {
		t.Errorf("after it has stopped: %t, %v", up, err)
	}
}

func TestStopReportsTheTimeItWaited(t *testing.T) {
	_, dir := startRegistry(t)
	if err := awaitRelease(t.Context(), dir, os.Getpid(), 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "within 100ms") {
		t.Errorf("after the limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitRelease(ctx, dir, os.Getpid(), time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancellation: %v", err)
	}
	if err := awaitRelease(t.Context(), filepath.Join(dir, "none"), os.Getpid(), time.Hour); err != nil {
		t.Errorf("a directory that nobody holds: %v", err)
	}
}
