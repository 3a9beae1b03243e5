// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A handler cannot run a tenant's statement without a caller. The compiler refuses each of these
// attempts.
func TestCodeWithoutATenantDoesNotCompile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line string
		want string // part of the compiler's error; empty if the line compiles
	}{
		"with a caller":                            {`_, err = db.Tenant(caller).Pod(ctx, id)`, ""},
		"without a caller":                         {`_, err = db.Tenant().Pod(ctx, id)`, "not enough arguments"},
		"with an id instead of a caller":           {`_, err = db.Tenant(id).Pod(ctx, id)`, "cannot use id"},
		"past the tenant":                          {`_, err = db.Pod(ctx, id)`, "no field or method Pod"},
		"through control":                          {`_, err = db.Control().Pod(ctx, id)`, "no field or method Pod"},
		"a Tenant that the handler creates itself": {`_, err = store.Tenant{id: id}.Pod(ctx, id)`, "cannot refer to unexported field id"},
		"a tenant whose id is changed":             {`t := db.Tenant(caller); t.id = id`, "t.id undefined"},
		"a control statement through a tenant":     {`_, err = db.Tenant(caller).Nodes(ctx)`, "no field or method Nodes"},
		"the connection pool of the tenants' role": {`_ = db.Tenant(caller).tenant`, "undefined"},
		"a tenant's method with a second id":       {`_, err = db.Tenant(caller).Pod(ctx, id, id)`, "too many arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := compile(t, c.line)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s does not compile: %s", c.line, out)
			case c.want != "" && (err == nil || !strings.Contains(out, c.want)):
				t.Errorf("%s: the compiler's error is %q, want %q in it", c.line, out, c.want)
			}
		})
	}
}

// compile compiles a line in a separate temporary package.
func compile(t *testing.T, line string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "x.go"), filepath.Join(dir, "overlay.json")
	code := fmt.Sprintf(`package snippet

import (
	"context"

	"husk"
	"husk/store"
)

func _(ctx context.Context, db *store.Store, caller husk.Caller, id store.ID) (err error) {
	%s
	return err
}
`, line)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "store", "snippet", "x.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{source: []byte(code), overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "./store/snippet")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
