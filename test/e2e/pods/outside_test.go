// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/test/stack"
)

// A module of another repository can import husk/client. It needs only a replace directive, because
// this module is not published under its name.
func TestAProgramOfAnotherModule(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	dir := t.TempDir()
	for name, source := range map[string]string{
		"go.mod": "testdata/outside/go.mod.txt", "main.go": "testdata/outside/main.go", "go.sum": filepath.Join(stack.Repository(), "go.sum"),
	} {
		raw, err := os.ReadFile(source) //nolint:gosec // ours
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("REPOSITORY"), []byte(stack.Repository()))
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "outside", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program := exec.CommandContext(t.Context(), filepath.Join(dir, "outside")) //nolint:gosec // built above
	program.Env = append(os.Environ(), "IMAGE="+tn.Refs["busybox"], "HUSK_API="+tn.Env["HUSK_API"],
		"HUSK_CLIENT_ID="+tn.Key.ClientID.String(), "HUSK_CLIENT_SECRET="+tn.Key.ClientSecret)
	out, err := program.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 4 || !strings.HasPrefix(lines[0], "created outside-") {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff([]string{"running", "hello from inside", "deleted"}, lines[1:]); diff != "" {
		t.Error(diff)
	}
}
