// SPDX-License-Identifier: Apache-2.0

//go:build linux

package files

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/guest"
)

func TestFilesAreReplacedAtOnce(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	file := func(path, content string) guest.File {
		return guest.File{Path: path, Content: []byte(content), Mode: 0o640, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	replace := func(files ...guest.File) {
		t.Helper()
		if err := Replace(volume, files); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() string {
		t.Helper()
		var all []string
		entries, err := os.ReadDir(volume)
		if err != nil {
			t.Fatal(err)
		}
		dirs := 0
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), dirPrefix) {
				dirs++
			}
			if strings.HasPrefix(e.Name(), "..") {
				continue
			}
			all = append(all, e.Name())
		}
		if dirs != 1 {
			t.Errorf("%d directories with files are left", dirs)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	read := func(path string) string {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(volume, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}

	replace(file("a", "1"), file("conf.d/x", "x1"), file("conf.d/y", "y1"))
	if got := shown(); got != "a conf.d" || read("a") != "1" || read("conf.d/y") != "y1" {
		t.Errorf("after the first time: %s", got)
	}
	if info, err := os.Stat(filepath.Join(volume, "a")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before, err := os.Open(filepath.Join(volume, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	replace(file("a", "2"), file("b", "b2"))
	if got := shown(); got != "a b" || read("a") != "2" {
		t.Errorf("after a change: %s", got)
	}
	old := make([]byte, 10)
	if n, _ := before.Read(old); string(old[:n]) != "1" {
		t.Errorf("an open file has changed to %q", old[:n])
	}
	if err := Replace(volume, []guest.File{file("a", "3"), file("a/b", "3")}); err == nil {
		t.Error("a file below a file was written")
	}
	if got := shown(); got != "a b" || read("a") != "2" {
		t.Errorf("after a failed change: %s, %s", got, read("a"))
	}
	replace()
	if got := shown(); got != "" {
		t.Errorf("after removing all: %s", got)
	}
}
