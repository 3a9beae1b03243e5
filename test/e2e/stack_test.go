// Package e2e tests Husk as its users have it: the real daemon, real Postgres, Ceph, libvirt, QEMU and registry, over the API.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"husk/openapi"
	"husk/test/contract"
	"husk/test/images"
)

// stack is one `huskd dev` for all tests, started when the first test asks.
type stack struct {
	dir      string
	cmd      *exec.Cmd
	env      map[string]string
	operator *openapi.ClientWithResponses
	refs     map[string]string // of the images in the registry, by name

	mu     sync.Mutex
	broken []error // answers that were not in the contract
}

// Leases are short so that a lost node is noticed within a test.
const (
	lease     = 8 * time.Second
	heartbeat = 2 * time.Second
)

var shared struct {
	once sync.Once
	s    *stack
	err  error
}

func theStack(t testing.TB) *stack {
	t.Helper()
	shared.once.Do(func() { shared.s, shared.err = startStack() })
	if shared.err != nil {
		t.Fatalf("start huskd dev: %v", shared.err)
	}
	return shared.s
}

// runTests runs the tests and afterwards looks for what they left behind.
func runTests(m *testing.M) (int, error) {
	code := m.Run()
	if shared.s == nil {
		return code, nil
	}
	return code, shared.s.stop()
}

func startStack() (*stack, error) {
	dir, err := os.MkdirTemp("", "husk-e2e-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // Postgres and QEMU have users of their own
		return nil, err
	}
	s := &stack{dir: dir}
	root, err := filepath.Abs(repository())
	if err != nil {
		return nil, err
	}
	envFile := filepath.Join(dir, "dev.env")
	log, err := os.Create(filepath.Join(dir, "dev.log")) //nolint:gosec // ours
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                                                                            //nolint:errcheck // the daemon has its own copy
	s.cmd = exec.Command(filepath.Join(root, "bin/huskd"), "dev", "--state-dir", filepath.Join(dir, "s"), "--env-file", envFile, //nolint:gosec,noctx // ours; stop ends it
		"--kernel", filepath.Join(root, "build/vmlinuz"), "--initramfs", filepath.Join(root, "build/initramfs.cpio"),
		"--lease", lease.String(), "--heartbeat", heartbeat.String(), "--log-level", "debug")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "HUSKD_NETWORK_PREFIX=18") // one tenant has ten thousand pods
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = until(ctx, func() error { s.env, err = readEnv(envFile); return err })
	if err != nil {
		return nil, errors.Join(err, s.failure("dev.log"))
	}
	s.operator = s.client(s.env["HUSK_ADMIN_CLIENT_ID"], s.env["HUSK_ADMIN_CLIENT_SECRET"])
	cache, err := images.CacheDir()
	if err != nil {
		return nil, err
	}
	built, err := images.Build(ctx, cache)
	if err == nil {
		s.refs, err = images.Push(ctx, s.env["HUSK_REGISTRY"], built)
	}
	return s, err
}

// failure quotes the end of a log.
func (s *stack) failure(name string) error {
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	return fmt.Errorf("the end of %s:\n%s", name, raw[max(0, len(raw)-4000):])
}

// stop stops the daemon as its users do, and checks that it leaves nothing.
func (s *stack) stop() error {
	left := errors.Join(s.broken...)
	if domains := s.virsh("list", "--all", "--name"); domains != "" {
		left = fmt.Errorf("tests left domains: %s", domains)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	left = errors.Join(left, until(ctx, s.poolsAreEmpty))
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(left, err)
	}
	if err := s.cmd.Wait(); err != nil {
		return errors.Join(left, fmt.Errorf("huskd dev: %w", err), s.failure("dev.log"))
	}
	for _, what := range []struct{ name, command string }{
		{"processes", "ps -eo comm= | grep -E 'huskd|postgres|ceph|libvirtd|virtlogd|qemu|docker-registry' || true"},
		{"interfaces", "ip -br link | grep -E '^hk' || true"},
		{"nftables", "nft list tables | grep husk || true"},
	} {
		out, err := exec.Command("sh", "-c", what.command).CombinedOutput() //nolint:gosec,noctx // ours
		if text := strings.TrimSpace(string(out)); err != nil || text != "" {
			left = errors.Join(left, err, fmt.Errorf("huskd dev left %s: %s", what.name, text))
		}
	}
	return errors.Join(left, os.RemoveAll(s.dir))
}

// poolsAreEmpty tells whether every image, clone, volume and key of the tests is gone from Ceph; the server collects them in the background.
func (s *stack) poolsAreEmpty() error {
	conf := s.env["HUSK_CEPH_CONF"]
	for _, what := range []struct{ name, command string }{
		{"images", "rbd -c " + conf + " ls husk-images"},
		{"disks", "rbd -c " + conf + " ls husk-volumes"},
		{"keys", "ceph -c " + conf + " auth ls 2>/dev/null | grep '^client.husk-pod' || true"},
	} {
		out, err := exec.Command("sh", "-c", what.command).Output() //nolint:gosec,noctx // ours
		if err != nil {
			return fmt.Errorf("%s: %w", what.command, err)
		}
		if text := strings.TrimSpace(string(out)); text != "" {
			return fmt.Errorf("tests left %s in ceph: %s", what.name, text)
		}
	}
	return nil
}

// client is a tenant's or the operator's; every answer it gets is held to the contract.
func (s *stack) client(id, secret string) *openapi.ClientWithResponses {
	checked, err := contract.New(http.DefaultTransport, func(format string, args ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, fmt.Errorf(format, args...))
	})
	if err != nil {
		panic(err) // the contract is compiled in
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: checked})
	oauth := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: s.env["HUSK_API"] + "/oauth2/token"}
	c, err := openapi.NewClientWithResponses(s.env["HUSK_API"], openapi.WithHTTPClient(oauth.Client(ctx)))
	if err != nil {
		panic(err) // only an option can fail, and ours does not
	}
	return c
}

func readEnv(name string) (map[string]string, error) {
	raw, err := os.ReadFile(name) //nolint:gosec // ours
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

// until repeats f until it succeeds; when ctx ends first, f's last error is the answer.
func until(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// eventually fails the test unless f succeeds in time.
func eventually(t testing.TB, within time.Duration, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := until(ctx, f); err != nil {
		t.Fatalf("not within %s: %v", within, err)
	}
}

func (s *stack) virsh(args ...string) string {
	out, err := exec.Command("virsh", append([]string{"-c", "qemu:///system"}, args...)...).CombinedOutput() //nolint:gosec,noctx // ours
	if err != nil {
		return "virsh: " + err.Error() + ": " + string(out)
	}
	return strings.TrimSpace(string(out))
}

// rbd runs Ceph's own tool as administrator.
func (s *stack) rbd(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rbd", append([]string{"-c", s.env["HUSK_CEPH_CONF"]}, args...)...).CombinedOutput() //nolint:gosec // ours
	if err != nil {
		t.Fatalf("rbd %v: %v: %s", args, err, out)
	}
	return string(out)
}

// pid is the process of one of huskd dev's children.
func (s *stack) pid(name string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, "s", "run", name+".pid.json"))
	if err != nil {
		return 0, err
	}
	var record struct{ PID int }
	if err := json.Unmarshal(raw, &record); err != nil {
		return 0, err
	}
	return record.PID, nil
}

// kill ends a child the hard way and waits until its supervisor has started another.
func (s *stack) kill(t testing.TB, name string) {
	t.Helper()
	before, err := s.pid(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
	eventually(t, 30*time.Second, func() error {
		now, err := s.pid(name)
		if err == nil && now == before {
			err = errors.New(name + " was not started again")
		}
		return err
	})
}

// qemu returns the process of a pod's machine, 0 when there is none.
func qemu(pod string) int {
	raw, err := os.ReadFile("/run/libvirt/qemu/husk-" + pod + ".pid")
	if err != nil {
		return 0
	}
	var pid int
	if _, err := fmt.Sscan(string(raw), &pid); err != nil {
		return 0
	}
	return pid
}
