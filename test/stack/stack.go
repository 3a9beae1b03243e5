// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"husk/client"
	"husk/test/images"
	"husk/test/pace"
)

// Boot is what a stack runs. The files are copied into the stack's directory, and huskd starts its
// children from the copy, so that a test can replace it.
type Boot struct{ Huskd, Initramfs string }

// Previous is what stacks run instead of this checkout's version, if it is set before Main.
var Previous Boot

// Replace makes the next start of a server or an agent use another version.
func (s *Stack) Replace(b Boot) error {
	return errors.Join(copyFile(s.Huskd(), b.Huskd), copyFile(s.initramfs(), b.Initramfs))
}

func (s *Stack) stateDir() string { return filepath.Join(s.Dir, "s") }

// Huskd returns the path of the stack's copy of huskd.
func (s *Stack) Huskd() string { return filepath.Join(s.Dir, "huskd") }

func (s *Stack) initramfs() string { return filepath.Join(s.Dir, "initramfs.cpio") }

// This returns this checkout's version.
func This() Boot {
	return Boot{filepath.Join(Repository(), "bin/huskd"), filepath.Join(Repository(), "build/initramfs.cpio")}
}

// copyFile replaces a file that may be running.
func copyFile(to, from string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".new", raw, 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// Stack is one `huskd dev` for all tests of a binary.
type Stack struct {
	Dir      string            // has all files of the stack; the state directory is its subdirectory s
	Env      map[string]string // what huskd dev writes to its environment file
	Operator *client.Client
	Refs     map[string]string // references of the images in the registry, by name

	cmd *exec.Cmd

	mu     sync.Mutex
	broken []error // responses that violate the contract
}

// Leases are short, so that the server notices a lost node within a test. On a slow machine they
// are longer.
const (
	lease = 8 * time.Second
	// Without several nodes, a lease that runs out only ends machines with volumes, and many tests run at once.
	loneLease = 15 * time.Second
	heartbeat = 2 * time.Second
)

var shared struct {
	once sync.Once
	s    *Stack
	err  error
}

// Get returns the binary's stack. The first call starts it.
func Get(t testing.TB) *Stack {
	t.Helper()
	shared.once.Do(func() { shared.s, shared.err = start(loneLease) })
	if shared.err != nil {
		t.Fatalf("start huskd dev: %v", shared.err)
	}
	return shared.s
}

// runTests runs the tests and then checks what they left behind.
func runTests(m *testing.M) (int, error) {
	code := m.Run()
	if shared.s == nil {
		return code, nil
	}
	return code, shared.s.stop()
}

// start starts huskd dev. The lease is given for the reference machine.
func start(lease time.Duration, args ...string) (s *Stack, err error) {
	dir, err := os.MkdirTemp("", "husk-e2e-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // Postgres and QEMU run as users of their own
		return nil, err
	}
	s = &Stack{Dir: dir}
	root := Repository()
	envFile := filepath.Join(dir, "dev.env")
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the daemon has its own copy

	// It ends when the stack is stopped.
	boot := This()
	if Previous != (Boot{}) {
		boot = Previous
	}
	if err := s.Replace(boot); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(s.Huskd(), append([]string{
		"dev", "--state-dir", s.stateDir(), "--env-file", envFile,
		"--kernel", filepath.Join(root, "build/vmlinuz"), "--initramfs", s.initramfs(),
		"--lease", pace.Slower(lease).String(), "--heartbeat", heartbeat.String(), "--log-level", "debug",
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "HUSKD_NETWORK_PREFIX=18", // because one tenant has ten thousand pods
		"HUSKD_OVN="+filepath.Join(root, "build/ovn")) // not a flag, which an earlier version does not know
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startOnOwnThread(s.cmd); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil { // nobody else stops it
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			_ = s.cmd.Wait()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(2*time.Minute))
	defer cancel()
	err = Until(ctx, func() error { s.Env, err = readEnv(envFile); return err })
	if err != nil {
		return nil, errors.Join(err, s.LogEnd("dev.log"))
	}
	s.Operator = s.Client(s.Env["HUSK_ADMIN_CLIENT_ID"], s.Env["HUSK_ADMIN_CLIENT_SECRET"])
	cache, err := images.CacheDir()
	if err != nil {
		return nil, err
	}
	built, err := images.Build(ctx, cache)
	if err == nil {
		s.Refs, err = images.Push(ctx, s.Env["HUSK_REGISTRY"], built)
	}
	return s, err
}

// startOnOwnThread starts a command that must die with the test binary. The kernel kills the
// command when the thread that started it ends. Go ends a thread when a goroutine that is locked to
// it returns, for example in tests that enter a network namespace or start a dev.Stack. So this
// function uses a separate thread for the command.
func startOnOwnThread(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {} // until the test binary ends
	}()
	return <-started
}

func readEnv(name string) (map[string]string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		key, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		env[key] = strings.Trim(value, "'")
	}
	return env, nil
}

// LogEnd quotes the end of a log below Dir.
func (s *Stack) LogEnd(name string) error {
	raw, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil {
		return err
	}
	return fmt.Errorf("the end of %s:\n%s", name, raw[max(0, len(raw)-4000):])
}

// PID returns the process ID of one of huskd dev's children.
func (s *Stack) PID(name string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(s.stateDir(), "run", name+".pid.json"))
	if err != nil {
		return 0, err
	}
	var record struct{ PID int }
	if err := json.Unmarshal(raw, &record); err != nil {
		return 0, err
	}
	return record.PID, nil
}

// Kill kills a child with SIGKILL and waits until its supervisor has restarted it.
func (s *Stack) Kill(t testing.TB, name string) {
	t.Helper()
	before, err := s.PID(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
	Eventually(t, 30*time.Second, func() error {
		now, err := s.PID(name)
		if err == nil && now == before {
			err = errors.New(name + " was not restarted")
		}
		return err
	})
}
