// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk/client"
	"husk/dev"
	"husk/dev/devtest"
	"husk/openapi"
	"husk/store"
)

// patience is how long a server may take to start or to lead.
const patience = time.Minute

// installation is a Postgres and a Ceph, and what servers on them need.
type installation struct {
	database                   devtest.URL
	ceph                       *dev.Stack
	operatorID, operatorSecret string
	dir                        string // of the servers' files
	flags                      []string
}

// huskd is a process of huskd server.
type huskd struct {
	*installation

	name, url, forAgents string
	cmd                  *exec.Cmd
	log                  *bytes.Buffer
}

// install makes an installation. All its servers get the flags.
func install(b *testing.B, flags ...string) *installation {
	b.Helper()
	i := &installation{
		database: devtest.PostgresFrom(b, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) }),
		ceph:     devtest.Ceph(b), operatorID: uuid.NewString(), operatorSecret: "a secret of the operator", dir: b.TempDir(),
	}
	file := func(name, content string) string {
		path := filepath.Join(i.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	i.flags = append([]string{
		"--master-key-file", file("master.key", strings.Repeat("0", 64)), "--operator-client-id", i.operatorID, "--operator-secret-file", file("operator.secret", i.operatorSecret),
		"--ceph-conf", i.ceph.CephConf(), "--ceph-keyring", i.ceph.CephKeyring(), "--ceph-user", dev.CephUser, "--ceph-monitors", strings.Join(i.ceph.MonHosts(), ","),
	}, flags...)
	return i
}

// startServer starts the only server of an installation.
func startServer(b *testing.B, flags ...string) *huskd {
	b.Helper()
	return install(b, flags...).server(b, "server")
}

// server starts a server.
func (i *installation) server(b *testing.B, name string) *huskd {
	b.Helper()
	api, agents := freeAddr(b), freeAddr(b)
	s := &huskd{installation: i, name: name, url: "http://" + api, forAgents: "https://" + agents, log: &bytes.Buffer{}}
	s.start(b)
	b.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait() // the context may have ended it
		if b.Failed() {
			text := s.log.String()
			b.Logf("the end of the log of %s:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return s
}

// start starts the process and waits until it serves.
func (s *huskd) start(b *testing.B) {
	b.Helper()
	dir := filepath.Join(s.dir, s.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	s.cmd = exec.CommandContext(b.Context(), "../../bin/huskd", append([]string{
		"server", "--listen", strings.TrimPrefix(s.url, "http://"), "--agent-listen", strings.TrimPrefix(s.forAgents, "https://"), "--work-dir", dir,
	}, s.flags...)...)
	s.cmd.Env = append(os.Environ(), "HUSKD_DATABASE_URL="+s.database(store.RoleOwner))
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s.eventually(b, s.name+" is ready", s.ready)
}

func (s *huskd) ready() bool {
	resp, err := http.Get(s.url + "/readyz")
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func freeAddr(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *huskd) eventually(b *testing.B, what string, is func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after %s it is still not true that %s", patience, what)
		}
	}
}

// connect returns a connection to the database as the superuser.
func (s *huskd) connect(b *testing.B) *pgx.Conn {
	b.Helper()
	c, err := pgx.Connect(b.Context(), s.database("postgres"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.WithoutCancel(b.Context())) })
	return c
}

// awaitLeader waits until the server runs the control loops.
func (s *huskd) awaitLeader(b *testing.B) {
	b.Helper()
	db := s.connect(b)
	s.eventually(b, "the server leads", func() bool {
		var epoch int64
		err := db.QueryRow(b.Context(), "SELECT epoch FROM leadership").Scan(&epoch)
		return err == nil && epoch > 0
	})
}

type operator struct{ *client.Client }

func operatorClient(b *testing.B, s *huskd) operator {
	b.Helper()
	c, err := client.New(s.url, client.WithAPIKey(s.operatorID, s.operatorSecret))
	if err != nil {
		b.Fatal(err)
	}
	return operator{c}
}

func (o operator) tenant(b *testing.B, n int) openapi.Tenant {
	b.Helper()
	t, err := o.Tenants.Create(b.Context(), openapi.TenantCreate{Name: fmt.Sprintf("tenant-%d", n), Quota: &openapi.QuotaChange{Pods: new(1000), Addresses: new(1000), CPUMillis: new(1_000_000), MemoryMiB: new(1_000_000)}})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

func (o operator) tenantKey(b *testing.B, tenant openapi.Tenant) openapi.APIKeyWithSecret {
	b.Helper()
	k, err := o.Tenants.CreateKey(b.Context(), tenant.ID, openapi.TenantKeyCreate{Name: "scale"})
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// usage is CPU time in cores.
type usage struct{ server, postgres float64 }

func (u usage) String() string {
	return fmt.Sprintf("server %.2f %% of a core, Postgres %.2f %%", 100*u.server, 100*u.postgres)
}

// measure returns the CPU time that the server and all of Postgres use while do runs.
func (s *huskd) measure(b *testing.B, db *pgx.Conn, do func()) usage {
	b.Helper()
	before, start := s.ticks(b, db), time.Now()
	do()
	after, took := s.ticks(b, db), time.Since(start).Seconds()
	const perSecond = 100 // USER_HZ, proc(5)
	return usage{float64(after[0]-before[0]) / perSecond / took, float64(after[1]-before[1]) / perSecond / took}
}

// ticks returns the CPU time of the server and of Postgres so far.
func (s *huskd) ticks(b *testing.B, db *pgx.Conn) (ticks [2]int) {
	b.Helper()
	var backend int
	if err := db.QueryRow(b.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		b.Fatal(err)
	}
	of := func(pid int) process {
		p, err := processOf(pid)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	parent := of(backend).parent
	ticks[0], ticks[1] = of(s.cmd.Process.Pid).own, of(parent).own+of(parent).ended
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			b.Fatal(err)
		}
		if p, err := processOf(pid); err == nil && p.parent == parent { // otherwise it has ended
			ticks[1] += p.own
		}
	}
	return ticks
}

// process is the kernel's record of a process. Times are in ticks.
type process struct {
	parent     int
	own, ended int // CPU time of the process, and of its children that have ended
}

func processOf(pid int) (p process, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // names of these processes contain no parenthesis
	var state string
	var skip, user, system, endedUser, endedSystem int
	if _, err := fmt.Sscan(rest, &state, &p.parent, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system, &endedUser, &endedSystem); err != nil {
		return p, fmt.Errorf("/proc/%d/stat is %q: %w", pid, text, err)
	}
	p.own, p.ended = user+system, endedUser+endedSystem
	return p, nil
}
