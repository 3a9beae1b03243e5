// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullChannel creates a listening socket that, like QEMU's, queues one connection, and fills that queue.
func fullChannel(t *testing.T) (path string, listener int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "husk-channel") // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "channel")
	socket := func() int {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	listener = socket()
	if err := errors.Join(unix.Bind(listener, &unix.SockaddrUnix{Name: path}), unix.Listen(listener, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		switch err := unix.Connect(socket(), &unix.SockaddrUnix{Name: path}); {
		case errors.Is(err, unix.EAGAIN):
			return path, listener
		case err != nil:
			t.Fatal(err)
		}
	}
}

func TestConnectRetriesWhileTheQueueIsFull(t *testing.T) {
	t.Parallel()
	path, listener := fullChannel(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, path, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a channel that stays full: %v, want the context's end", err)
	}
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	if _, err := connect(t.Context(), path, wake); !errors.Is(err, errNewState) {
		t.Errorf("a new desired state in between: %v, want %v", err, errNewState)
	}
	taken, _, err := unix.Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(taken) //nolint:errcheck // accepted only to make the queue empty
	conn, err := connect(t.Context(), path, nil)
	if err != nil {
		t.Fatalf("after the queue has space again: %v", err)
	}
	_ = conn.Close()
}
