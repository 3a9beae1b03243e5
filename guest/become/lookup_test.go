// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A container can replace its lists of users and groups by anything.
func TestListsOfUsersAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int64{"usual": 100, "full": maxList, "large": maxList + 1, "endless": 1 << 40} {
		f, err := os.Create(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if err := unix.Mkfifo(at("pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", at("device")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"usual": 100, "full": maxList, "missing": 0, "large": -1, "endless": -1, "pipe": -1, "device": -1, ".": -1} {
		done := make(chan int, 1)
		go func() {
			list, err := readList(at(name))
			if err != nil {
				done <- -1
				return
			}
			n, err := io.Copy(io.Discard, list)
			if err != nil {
				t.Error(err)
			}
			done <- int(n)
		}()
		select {
		case got := <-done:
			if got != want {
				t.Errorf("%s: %d bytes, want %d (-1: refused)", name, got, want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: reading it blocks", name)
		}
	}
}
