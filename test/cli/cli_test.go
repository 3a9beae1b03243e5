// Package cli runs the command line as people do, as a process, against a real server with a real Postgres and a real OIDC provider.
// What needs machines is played by node_test.go: an agent over the API whose containers are a few known words. The end-to-end tests run
// the same commands on machines.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"husk"
	"husk/dev/devtest"
	"husk/egress"
	"husk/server"
	"husk/store"
	"husk/test/oidcprovider"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// site is a server for all scripts.
type site struct {
	db       *store.Store
	store    store.Control
	url      string
	agentURL string
	operator uuid.UUID
	provider *oidcprovider.Provider
	bin      string // the directory of the program
}

const operatorSecret = "a secret of the operator"

func open(t *testing.T) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	st, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 8, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	s, err := server.New(t.Context(), server.Config{
		Store: st, Issuer: "https://husk.example.com", Log: log, Lease: time.Minute, Heartbeat: 10 * time.Second, NodeCertificateLife: 24 * time.Hour, LoginsPerSecond: 10_000,
		CephMonitors: []string{"192.0.2.1:6789"}, ImagesPool: "images", VolumesPool: "volumes",
		Egress: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	operator := uuid.New()
	if err := st.Control().EnsureOperator(t.Context(), operator, operatorSecret); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	agents := httptest.NewUnstartedServer(s.Handler())
	agents.TLS = s.AgentTLS()
	agents.StartTLS()
	t.Cleanup(agents.Close)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "husk"), "husk/cmd/husk")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return &site{st, st.Control(), web.URL, agents.URL, operator, oidcprovider.Start(t), bin}
}

var serial atomic.Int64

// Each script is one story of a tenant of its own.
func TestStories(t *testing.T) {
	s := open(t)
	startNode(t, s)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			return s.setUp(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"devicelogin": s.deviceLogin,
			"admit":       s.admit,
			"mode":        mode,
			"age":         ageTokens,
			"importing":   s.importing,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// setUp makes a tenant with an image that is ready, and its first API key.
func (s *site) setUp(env *testscript.Env) error {
	ctx := context.Background()
	name := fmt.Sprintf("tenant-%d", serial.Add(1))
	quota := husk.DefaultQuota
	quota.RequestsPerSecond = 100_000 // scripts are busier than people
	tenant, err := s.store.CreateTenant(ctx, store.NewIdempotency("", name, "", nil), name, quota)
	if err != nil {
		return err
	}
	key, err := s.store.CreateTenantKey(ctx, tenant.ID, store.NewIdempotency("", name, "", nil), "owner", store.KeyRequest{Name: "first"})
	if err != nil {
		return err
	}
	owner, err := s.store.Authenticate(ctx, key.ClientID, key.Secret)
	if err != nil {
		return err
	}
	image, err := s.db.Tenant(owner).CreateImage(ctx, store.NewIdempotency("", name, "", nil), "registry.example.com/busybox:1",
		"sha256:"+name, husk.ImageConfig{Cmd: []string{"sh"}}, nil)
	if err != nil {
		return err
	}
	if err := s.store.ImageMade(ctx, image, 1<<20, name); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "secret"), []byte(key.Secret+"\n"), 0o600); err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	env.Setenv("PATH", s.bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", home)
	env.Setenv("URL", s.url)
	env.Setenv("CLIENT_ID", key.ClientID.String())
	env.Setenv("SECRET", key.Secret)
	env.Setenv("TENANT", name)
	env.Setenv("TENANT_ID", tenant.ID.String())
	env.Setenv("OPERATOR_ID", s.operator.String())
	env.Setenv("OPERATOR_SECRET", operatorSecret)
	env.Setenv("ISSUER", s.provider.Issuer)
	return nil
}

// importing lets the tenant have an image of which so many bytes have come: importing registry.example.com/slow:1 42 100.
func (s *site) importing(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	client, err := uuid.Parse(ts.Getenv("CLIENT_ID"))
	ts.Check(err)
	owner, err := s.store.Authenticate(ctx, client, ts.Getenv("SECRET"))
	ts.Check(err)
	digest := "sha256:importing-" + owner.TenantID.String()
	_, err = s.db.Tenant(owner).CreateImage(ctx, store.NewIdempotency("", args[0], "", nil), args[0], digest, husk.ImageConfig{}, nil)
	ts.Check(err)
	fetched, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	total, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	ts.Check(s.store.ImageProgress(ctx, digest, husk.ImportProgress{FetchedBytes: fetched, TotalBytes: total}))
}

// exits runs husk and holds it to an exit code: exits 3 pods nope.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("husk", args[1:]...)
	got := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("husk %s exits with %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

var people = map[string]oidcprovider.User{
	"owner": oidcprovider.Owner, "developer": oidcprovider.Developer, "stranger": oidcprovider.Stranger,
}

// deviceLogin runs husk login, and does in a browser what it says: devicelogin developer ARGS… What it printed is in the files out and
// err, and its exit code in the file code.
func (s *site) deviceLogin(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "husk"), append([]string{"login"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "PATH", "HUSK_API", "HUSK_CONTEXT", "XDG_CONFIG_HOME"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var out strings.Builder
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	var said strings.Builder
	buf := make([]byte, 4096)
	approved := false
	for {
		n, err := errs.Read(buf)
		said.Write(buf[:n])
		var at, code string
		if _, e := fmt.Sscanf(said.String(), "Open %s and enter the code %s\n", &at, &code); e == nil && !approved {
			approved = true
			ts.Check(oidcprovider.ApproveDevice(ctx, at, code, people[args[0]]))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
	}
	code := 0
	if err := cmd.Wait(); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Check(err)
		}
		code = failed.ExitCode()
	}
	for file, text := range map[string]string{"out": out.String(), "err": said.String(), "code": fmt.Sprintln(code)} {
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// admit admits a user of the provider to the tenant by name: what an owner does with husk user create.
func (s *site) admit(ts *testscript.TestScript, _ bool, args []string) {
	u := people[args[0]]
	ts.Check(ts.Exec("husk", "user", "create", u.Email, "--issuer", s.provider.Issuer, "--role", args[1]))
}

// mode holds a file to its permissions: mode 600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has the mode %s, not %s", args[1], got, args[0])
	}
}

// ageTokens makes the cached tokens look as if they had ended.
func ageTokens(ts *testscript.TestScript, _ bool, _ []string) {
	files, err := filepath.Glob(filepath.Join(ts.Getenv("HOME"), ".cache/husk/token-*.json"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no token is cached")
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		ts.Check(err)
		before, _, ok := strings.Cut(string(raw), `"expiresAt":"`)
		if !ok {
			ts.Fatalf("%s has no end", f)
		}
		ts.Check(os.WriteFile(f, []byte(before+`"expiresAt":"2000-01-01T00:00:00Z"}`), 0o600))
	}
}
