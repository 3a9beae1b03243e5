// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A libvirtd that hangs accepts connections and never responds. The calls to it end in time, and the
// agent does not collect threads, connections or goroutines, however long libvirtd hangs.
func TestCallsToALibvirtThatHangsLeaveNothingBehind(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "libvirt-sock")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	m := New(Config{URI: "qemu+unix:///system?socket=" + socket})
	count := func(what string) int {
		t.Helper()
		list, err := os.ReadDir("/proc/self/" + what)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	hang := func(n int) {
		t.Helper()
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if _, _, err := m.Find(ctx, uuid.New()); !errors.Is(err, ErrUnresponsive) {
				t.Errorf("a call to a libvirt that hangs returns %v", err)
			}
			cancel()
		}
	}
	hang(10)
	files, threads, goroutines := count("fd"), count("task"), runtime.NumGoroutine()
	hang(100)
	if f, th, g := count("fd"), count("task"), runtime.NumGoroutine(); f > files+2 || th > threads+2 || g > goroutines+2 {
		t.Errorf("100 calls left %d files, %d threads and %d goroutines", f-files, th-threads, g-goroutines)
	}
	_ = lis.Close()
	for conn := range accepted {
		_ = conn.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines-1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call that waited for libvirt does not end when libvirt does")
		}
	}
	m.Close()
}
