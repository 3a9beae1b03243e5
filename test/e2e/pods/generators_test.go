// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/test/pace"
	"husk/test/stack"
)

// TestGeneratedClients generates clients with three generators, from the contract as the server serves it. Each client logs in, and creates,
// lists and deletes a pod. openid-client, which is not generated, does the same with the server's metadata.
func TestGeneratedClients(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	image := tn.ImportImage(t, "busybox")
	dir := filepath.Join(stack.Repository(), "test/generators")
	build := filepath.Join(dir, "build")
	if err := os.RemoveAll(build); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"ogen", "oapicodegen", "js"} {
		if err := os.MkdirAll(filepath.Join(build, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	contract := filepath.Join(build, "openapi.json")
	if err := os.WriteFile(contract, served(t, tn.Env["HUSK_API"]+"/openapi.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, command ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // our own commands
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "HUSK_API="+tn.Env["HUSK_API"], "HUSK_IMAGE="+image,
			"HUSK_CLIENT_ID="+tn.Key.ClientID.String(), "HUSK_CLIENT_SECRET="+tn.Key.ClientSecret)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
		}
		t.Logf("%s took %s", command[0]+" "+command[1], time.Since(began).Round(time.Millisecond))
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/.package-lock.json")); err != nil { // make test has done it
		run(t, "npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}

	t.Run("ogen", func(t *testing.T) {
		run(t, "go", "tool", "ogen", "--target", "build/ogen", "--package", "ogen", "--clean", contract)
		run(t, "go", "run", "./ogen")
	})
	t.Run("oapi-codegen", func(t *testing.T) {
		run(t, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "oapicodegen", "-o", "build/oapicodegen/client.go", contract)
		run(t, "go", "run", "./oapicodegen")
	})
	t.Run("hey-api", func(t *testing.T) {
		run(t, "npx", "openapi-ts", "-i", contract, "-o", "build/heyapi", "-c", "@hey-api/client-fetch")
		run(t, "npx", "tsc", "-p", ".")
		if err := os.WriteFile(filepath.Join(build, "js/package.json"), []byte(`{"type": "commonjs"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "node", "build/js/heyapi.js")
	})
	t.Run("openid-client", func(t *testing.T) { run(t, "node", "openid.mjs") })
}

// served returns what the server serves at a URL.
func served(t *testing.T, url string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pace.Limit(30*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %v", url, resp.StatusCode, err)
	}
	return body
}
