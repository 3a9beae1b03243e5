// SPDX-License-Identifier: Apache-2.0

// Package devtest gives tests the real daemons: one Postgres, one Ceph and one registry per test
// binary, started when the first test needs them.
//
// Nothing is left behind, however the binary ends: the daemons end with it (see package dev), and a
// shell that waits on a pipe for the end of the binary removes the files. Packages that check for
// leaked goroutines use Main.
package devtest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"husk/dev"
)

// shared is a stack that all tests of a binary use.
type shared struct {
	once   sync.Once
	config func() (dev.Config, error)
	inRAM  bool // keep the files in memory, if there is a file system for that
	stack  *dev.Stack
	err    error
	dir    string
	reaper *exec.Cmd
	alive  io.Closer // the reaper's pipe
}

var (
	// Creating and dropping a database per test is mostly the work of the file system, which takes four times as long on a disk.
	postgres = &shared{inRAM: true, config: func() (cfg dev.Config, err error) {
		cfg.Parts = dev.Postgres
		cfg.PostgresPort, err = freePort()
		return cfg, err
	}}
	ceph = &shared{config: func() (cfg dev.Config, err error) {
		cfg.Parts = dev.Ceph
		cfg.CephMonPort, err = freePort()
		return cfg, err
	}}
	registry = &shared{config: func() (cfg dev.Config, err error) {
		cfg.Parts = dev.Registry
		cfg.RegistryPort, err = freePort()
		return cfg, err
	}}
	privateRegistry = &shared{config: func() (cfg dev.Config, err error) {
		cfg.Parts = dev.Registry
		cfg.RegistryUser, cfg.RegistryPassword = RegistryUser, RegistryPassword
		cfg.RegistryPort, err = freePort()
		return cfg, err
	}}
)

// The credentials that PrivateRegistry requires.
const (
	RegistryUser     = "someone"
	RegistryPassword = "something"
)

// Ceph returns the binary's cluster. Tests share its pools, so each uses its own names.
func Ceph(t testing.TB) *dev.Stack { t.Helper(); return ceph.get(t) }

// Registry returns host:port of the binary's registry.
func Registry(t testing.TB) string { t.Helper(); return registry.get(t).RegistryAddr() }

// PrivateRegistry returns host:port of a registry that requires RegistryUser.
func PrivateRegistry(t testing.TB) string { t.Helper(); return privateRegistry.get(t).RegistryAddr() }

// Main runs the tests of a package and stops what they started. It fails if goroutines are left:
// func TestMain(m *testing.M) { devtest.Main(m) }.
func Main(m *testing.M) {
	code := m.Run()
	for _, s := range []*shared{postgres, ceph, registry, privateRegistry} {
		if err := s.close(); err != nil {
			fmt.Fprintln(os.Stderr, "devtest:", err)
			code = max(code, 1)
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "devtest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func (s *shared) get(t testing.TB) *dev.Stack {
	t.Helper()
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatalf("devtest: %v", s.err)
	}
	return s.stack
}

func (s *shared) start() error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	parent := ""
	if s.inRAM && roomy(ramDir) {
		parent = ramDir
	}
	if s.dir, err = os.MkdirTemp(parent, "husk-test-"); err != nil {
		return err
	}
	if err := s.startReaper(); err != nil {
		return err
	}
	// Postgres runs as its own user.
	if err := os.Chmod(s.dir, 0o711); err != nil {
		return err
	}
	cfg.StateDir, cfg.Throwaway, cfg.OSDSizeBytes = s.dir, true, 8<<30
	s.stack, err = dev.Start(context.Background(), cfg)
	return err
}

const ramDir = "/dev/shm"

// roomy reports whether a directory is in memory and has 4 GiB free, several times what a Postgres needs at its peak. In containers it often
// has less.
func roomy(dir string) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	return err == nil && fs.Type == unix.TMPFS_MAGIC && fs.Bavail*uint64(fs.Bsize) >= 4<<30 //nolint:gosec // a block size is positive
}

// startReaper starts a shell that removes the directory after this process has ended: it reads a
// pipe whose other end only this process holds.
func (s *shared) startReaper() error {
	const script = `cat >/dev/null; while ! rm -rf "$0" 2>/dev/null; do sleep 0.1; done`
	s.reaper = exec.Command("/bin/sh", "-c", script, s.dir)
	s.reaper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C does not end it
	alive, err := s.reaper.StdinPipe()
	if err != nil {
		return err
	}
	s.alive = alive
	return s.reaper.Start()
}

func (s *shared) close() error {
	var err error
	if s.stack != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = s.stack.Stop(ctx)
	}
	if s.alive != nil {
		_ = s.alive.Close()
		_ = s.reaper.Wait()
	}
	return err
}

func freePort() (int, error) { return dev.FreePort(netip.MustParseAddr("127.0.0.1")) }
