// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"husk/dev/host"
)

// holdEnv is a directory. If it is set, this test binary runs a stack in the directory until it is
// killed; see TestAKilledParentLeavesNothing.
const holdEnv = "HUSK_TEST_HOLD_STACK"

func TestMain(m *testing.M) {
	host.BeInit()
	if dir := os.Getenv(holdEnv); dir != "" {
		hold(dir)
		return
	}
	if dir := os.Getenv(holdFleetEnv); dir != "" {
		holdFleet(dir)
		return
	}
	if dir := os.Getenv(holdNodeEnv); dir != "" {
		holdNode(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func hold(dir string) {
	port, err := FreePort(loopback)
	if err == nil {
		_, err = Start(context.Background(), Config{StateDir: dir, Parts: Postgres, PostgresPort: port, Throwaway: true})
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	println("ready")
	select {}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// stepLog collects steps.
type stepLog struct {
	mu    sync.Mutex
	steps []Step
}

func (j *stepLog) add(s Step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.steps = append(j.steps, s)
}

func (j *stepLog) has(name string, kind StepKind) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.steps {
		if s.Name == name && s.Kind == kind {
			return true
		}
	}
	return false
}

// stateDirFor returns a short path that Postgres' user can reach.
func stateDirFor(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "husk-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, cfg Config) *Stack {
	t.Helper()
	s, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := FreePort(loopback)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func readRecord(t *testing.T, dir, name string) record {
	t.Helper()
	data, err := os.ReadFile(recordPath(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func eventually(t *testing.T, what string, probe func(context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), 30*time.Second, nil, probe); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func sql(ctx context.Context, url, query string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, query)
	return err
}

func rbd(t *testing.T, s *Stack, args ...string) string {
	t.Helper()
	out, err := exec.Command("rbd", append([]string{"-c", s.CephConf()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rbd %v: %v: %s", args, err, out)
	}
	return string(out)
}

func TestASecondStartKeepsTheDataEvenOnOtherPorts(t *testing.T) {
	t.Parallel()
	cfg := Config{
		StateDir: stateDirFor(t), Parts: Postgres | Ceph,
		PostgresPort: freePort(t), CephMonPort: freePort(t), OSDSizeBytes: 4 << 30,
	}
	first := start(t, cfg)
	if err := sql(t.Context(), first.PostgresURL("husk_owner"), "CREATE TABLE kept (); GRANT SELECT ON kept TO husk_tenant"); err != nil {
		t.Fatal(err)
	}
	rbd(t, first, "create", "husk-volumes/kept", "--size", "1G")
	stop(t, first)
	select {
	case <-first.Done():
	default:
		t.Error("not done after Stop")
	}

	cfg.PostgresPort, cfg.CephMonPort = freePort(t), freePort(t)
	second := start(t, cfg)
	if err := sql(t.Context(), second.PostgresURL("husk_tenant"), "SELECT FROM kept"); err != nil {
		t.Error(err)
	}
	if got := rbd(t, second, "ls", "husk-volumes"); got != "kept\n" {
		t.Errorf("images after the second start: %q", got)
	}
	eventually(t, "healthy", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ceph", "-c", second.CephConf(), "health", "detail").Output()
		if err == nil && !strings.HasPrefix(string(out), "HEALTH_OK") {
			err = errors.New(string(out))
		}
		return err
	})
}

func TestRolesHaveNoUnneededPermissions(t *testing.T) {
	t.Parallel()
	s := start(t, Config{StateDir: stateDirFor(t), Parts: Postgres, PostgresPort: freePort(t), Throwaway: true})
	c, err := pgx.Connect(t.Context(), s.PostgresURL("husk_owner"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var powerful int
	const query = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'husk%' AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR NOT rolcanlogin)"
	if err := c.QueryRow(t.Context(), query).Scan(&powerful); err != nil || powerful != 0 {
		t.Errorf("%d roles have unneeded permissions: %v", powerful, err)
	}
	for _, role := range []string{"husk_control", "husk_tenant"} {
		if err := sql(t.Context(), s.PostgresURL(role), "CREATE TABLE mine ()"); err == nil {
			t.Errorf("%s created a table", role)
		}
	}
	wrong := strings.Replace(s.PostgresURL("husk_owner"), s.rolePassword, "guess", 1)
	if err := sql(t.Context(), wrong, "SELECT"); err == nil {
		t.Error("a wrong password is accepted")
	}
}

func TestACrashedChildIsRestarted(t *testing.T) {
	t.Parallel()
	var log stepLog
	s := start(t, Config{StateDir: stateDirFor(t), Parts: Postgres, PostgresPort: freePort(t), Throwaway: true, Progress: log.add})
	old := readRecord(t, s.StateDir(), "postgres")
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "postgres responds again", func(ctx context.Context) error {
		if !log.has("postgres", StepRestarted) {
			return errors.New("the log does not contain the restart")
		}
		return sql(ctx, s.PostgresURL("husk_tenant"), "SELECT")
	})
	if !log.has("postgres", StepCrashed) {
		t.Error("the log does not contain the crash")
	}
	if now := readRecord(t, s.StateDir(), "postgres"); now.PID == old.PID {
		t.Error("the record still has the ended process")
	}
}

func TestStopLeavesNoProcessAndNoRecord(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := Start(ctx, Config{StateDir: stateDirFor(t), Parts: Postgres | Registry, PostgresPort: freePort(t), RegistryPort: freePort(t), Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	pg, reg := readRecord(t, s.StateDir(), "postgres"), readRecord(t, s.StateDir(), "registry")
	cancel() // like SIGTERM
	<-s.Done()
	for _, r := range []record{pg, reg} {
		if _, err := startTime(r.PID); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s (pid %d) still runs: %v", r.Name, r.PID, err)
		}
	}
	if left, _ := filepath.Glob(recordPath(s.StateDir(), "*")); len(left) > 0 {
		t.Errorf("records left: %v", left)
	}
}

func TestAPortInUseIsOneClearLine(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = Start(t.Context(), Config{StateDir: stateDirFor(t), Parts: Postgres, PostgresPort: port})
	if err == nil {
		t.Fatal("started on a port in use")
	}
	for _, want := range []string{" is in use by dev.test (pid ", "; stop it or pass --postgres-port"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q does not say %q in one line", err, want)
		}
	}
}

func TestAMissingProgramSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := lookPath("ceph-nosuch", "ceph-osd")
	if err == nil || err.Error() != "ceph-nosuch not found: apt-get install ceph-osd" {
		t.Errorf("got %v", err)
	}
}

func TestOnlyOneProcessHoldsAStateDirectory(t *testing.T) {
	t.Parallel()
	cfg := Config{StateDir: stateDirFor(t), Parts: Registry, RegistryPort: freePort(t), Throwaway: true}
	start(t, cfg)
	var inUse *InUseError
	if _, err := Start(t.Context(), cfg); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("second start: %v", err)
	}
	if err := Clean(cfg.StateDir); !errors.As(err, &inUse) {
		t.Errorf("clean: %v", err)
	}
}

// awaitReady starts a command that prints "ready", and waits for that.
func awaitReady(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	says, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 512)
	n, _ := says.Read(line)
	if got := strings.TrimSpace(string(line[:n])); got != "ready" {
		t.Fatalf("%s printed %q", cmd, got)
	}
}

func TestAKilledParentLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := stateDirFor(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), holdEnv+"="+dir)
	awaitReady(t, parent)
	left := readRecord(t, dir, "postgres")
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	eventually(t, "the child ends with its parent", func(context.Context) error {
		if _, err := startTime(left.PID); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return errors.New("still there")
	})
	start(t, Config{StateDir: dir, Parts: Postgres, PostgresPort: freePort(t), Throwaway: true})
}

func TestALeftoverIsEndedOnlyIfItsStartTimeMatches(t *testing.T) {
	t.Parallel()
	dir := stateDirFor(t)
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	for i, name := range []string{"leftover", "stranger"} {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = cmd.Wait() }() // reaps the process, which ends at the latest with the kill below
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		r, err := newRecord(name, cmd.Process.Pid, syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		if name == "stranger" {
			r.Start-- // as if the pid had been reused
		}
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
		pids[i] = cmd.Process.Pid
	}
	ended, err := endLeftovers(dir)
	if err != nil || len(ended) != 1 || ended[0] != "leftover" {
		t.Errorf("ended %v, %v", ended, err)
	}
	if _, err := startTime(pids[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still running: %v", err)
	}
	if _, err := startTime(pids[1]); err != nil {
		t.Errorf("the other process was ended: %v", err)
	}
}

func TestCleanRemovesAStateDirectoryAndNothingElse(t *testing.T) {
	t.Parallel()
	if err := Clean(filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	home := t.TempDir()
	if err := Clean(home); err == nil {
		t.Error("removed a directory that is not a state directory")
	}
	dir := stateDirFor(t)
	stop(t, start(t, Config{StateDir: dir, Parts: Registry, RegistryPort: freePort(t), Throwaway: true}))
	if err := Clean(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory still exists: %v", err)
	}
}
