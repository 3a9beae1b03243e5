// SPDX-License-Identifier: Apache-2.0

// Package cli tests the husk program as a separate process, against the installation of package
// test/site, which has no machines. The end-to-end tests run the same commands with machines.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"husk"
	"husk/dev/devtest"
	"husk/store"
	"husk/test/oidcprovider"
	"husk/test/site"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// suite is an installation and a husk program that all scripts share.
type suite struct {
	*site.Site

	bin string // the directory of the husk program
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "husk"), "../../cmd/husk")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return &suite{site.Start(t), bin}
}

// Each script has a tenant of its own. What all tenants share, such as the hosts of ingresses, has a name that no other script
// uses, since scripts run at the same time.
func TestScripts(t *testing.T) {
	s := newSuite(t)
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

// setUp creates a tenant for a script.
func (s *suite) setUp(env *testscript.Env) error {
	tenant, err := s.Tenant(context.Background())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "secret"), []byte(tenant.ClientSecret+"\n"), 0o600); err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	env.Setenv("PATH", s.bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", home)
	env.Setenv("URL", s.URL)
	env.Setenv("CLIENT_ID", tenant.ClientID.String())
	env.Setenv("SECRET", tenant.ClientSecret)
	env.Setenv("TENANT", tenant.Name)
	env.Setenv("TENANT_ID", tenant.ID.String())
	env.Setenv("OPERATOR_ID", s.Operator.String())
	env.Setenv("OPERATOR_SECRET", site.OperatorSecret)
	env.Setenv("ISSUER", s.Provider.Issuer)
	return nil
}

// importing is a script command. It gives the tenant an image whose import is in progress:
// importing REFERENCE FETCHED_BYTES TOTAL_BYTES. With the word failed in place of the numbers, the import has failed.
func (s *suite) importing(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	client, err := uuid.Parse(ts.Getenv("CLIENT_ID"))
	ts.Check(err)
	owner, err := s.Control.Authenticate(ctx, client, ts.Getenv("SECRET"))
	ts.Check(err)
	digest := "sha256:importing-" + owner.TenantID.String()
	image, err := s.DB.Tenant(owner).CreateImage(ctx, store.NewIdempotency("", args[0], "", nil), args[0], digest, husk.ImageConfig{}, nil)
	ts.Check(err)
	if args[1] == "failed" {
		ts.Check(s.Control.ImageTrouble(ctx, image, "the registry does not respond", true))
		return
	}
	fetched, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	total, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	ts.Check(s.Control.ImageProgress(ctx, image, husk.ImportProgress{FetchedBytes: fetched, TotalBytes: total}))
}

// exits is a script command, exits CODE ARGS… It runs husk and checks its exit code.
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

var users = map[string]oidcprovider.User{
	"owner": oidcprovider.Owner, "developer": oidcprovider.Developer, "stranger": oidcprovider.Stranger,
}

// deviceLogin is a script command. It runs husk login and follows its instructions in a browser, as
// a user: devicelogin USER ARGS… It writes the output of husk to the files out and err, and the
// exit code to the file code.
func (s *suite) deviceLogin(ts *testscript.TestScript, _ bool, args []string) {
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
	var stderr strings.Builder
	buf := make([]byte, 4096)
	approved := false
	for {
		n, err := errs.Read(buf)
		stderr.Write(buf[:n])
		var at, code string
		if _, e := fmt.Sscanf(stderr.String(), "Open %s and enter the code %s\n", &at, &code); e == nil && !approved {
			approved = true
			ts.Check(oidcprovider.ApproveDevice(ctx, at, code, users[args[0]]))
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
	for file, text := range map[string]string{"out": out.String(), "err": stderr.String(), "code": fmt.Sprintln(code)} {
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// admit is a script command. It grants a user of the provider access to the tenant, as an owner
// does with husk user create.
func (s *suite) admit(ts *testscript.TestScript, _ bool, args []string) {
	u := users[args[0]]
	ts.Check(ts.Exec("husk", "user", "create", u.Email, "--issuer", s.Provider.Issuer, "--role", args[1]))
}

// mode is a script command. It checks the permissions of a file: mode 600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has the mode %s, not %s", args[1], got, args[0])
	}
}

// ageTokens is a script command. It makes the cached tokens look expired.
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
			ts.Fatalf("the token in %s has no expiry time", f)
		}
		ts.Check(os.WriteFile(f, []byte(before+`"expiresAt":"2000-01-01T00:00:00Z"}`), 0o600))
	}
}
