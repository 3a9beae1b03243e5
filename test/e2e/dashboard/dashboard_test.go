// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
	"husk/test/images"
	"husk/test/oidcprovider"
	"husk/test/stack"
)

// browserKey is an API key in the format that the browser tests use to log in.
type browserKey struct {
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
}

func keyOf(k openapi.APIKeyWithSecret) browserKey {
	return browserKey{k.ClientID.String(), k.ClientSecret}
}

// TestDashboard runs the tests in web/browser in a real browser. It gives them tenants, keys and an
// issuer, and reports their results as subtests. If HUSK_SCREENSHOTS is set, the tests store
// screenshots of every page in this directory.
func TestDashboard(t *testing.T) {
	s := stack.Get(t)
	owner, fresh, stranger, busy, many := stack.NewTenant(t), stack.NewTenant(t), stack.NewTenant(t), stack.NewTenant(t), stack.NewTenant(t)
	many.SetQuota(t, openapi.QuotaChange{
		Pods: new(10_000), Addresses: new(10_000), CPUMillis: new(1_000_000), MemoryMiB: new(2_000_000), ScratchGiB: new(200_000), RequestsPerSecond: new(100_000),
	})
	provider := oidcprovider.Start(t)
	operator := s.Operator.API()
	issuer, err := client.Decode[openapi.OIDCIssuer](operator.AdminCreateOIDCIssuer(t.Context(), nil, openapi.OIDCIssuerCreate{
		Name: "login", Issuer: provider.Issuer, ClientID: oidcprovider.Client,
		RoleMappings: &[]openapi.RoleMapping{{Claim: "groups", Value: "husk-developers", Role: openapi.Developer, TenantID: &owner.ID}},
	}))
	if err != nil {
		t.Fatalf("trust the issuer: %v", err)
	}
	t.Cleanup(func() {
		if _, err := client.Decode[any](operator.AdminDeleteOIDCIssuer(context.Background(), issuer.ID, nil)); err != nil { //nolint:bodyclose // Decode closes it
			t.Errorf("delete the issuer: %v", err)
		}
	})
	setup := map[string]any{
		"api": s.Env["HUSK_API"], "nginx": s.Refs["nginx"], "busybox": s.Refs["busybox"], "broken": pushBroken(t, s.Env["HUSK_REGISTRY"]),
		"owner": keyOf(owner.Key), "viewer": viewerKey(t, owner), "fresh": keyOf(fresh.Key), "tenantName": tenantName(t, owner),
		"stranger": keyOf(stranger.Key), "strangerName": tenantName(t, stranger), "busy": keyOf(busy.Key), "many": keyOf(many.Key),
		"operator": browserKey{s.Env["HUSK_ADMIN_CLIENT_ID"], s.Env["HUSK_ADMIN_CLIENT_SECRET"]},
		"issuer":   provider.Issuer,
		"user":     map[string]string{"name": oidcprovider.Developer.Name, "password": oidcprovider.Developer.Password, "tenant": tenantName(t, owner)},
	}
	dir := t.TempDir()
	raw, err := json.Marshal(setup)
	if err != nil {
		t.Fatal(err)
	}
	file, report := filepath.Join(dir, "browser.json"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	web, err := filepath.Abs(filepath.Join(stack.Repository(), "web"))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"vitest", "run", "--config", "browser/vitest.config.ts", "--reporter=default", "--reporter=json", "--outputFile.json=" + report}
	if only := os.Getenv("HUSK_BROWSER_ONLY"); only != "" { // run one test file, during its development
		args = append(args, only)
	}
	cmd := exec.CommandContext(t.Context(), "npx", args...) //nolint:gosec // ours
	cmd.Dir = web
	cmd.Env = append(os.Environ(), "HUSK_BROWSER="+file, "NO_COLOR=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the whole process group, with its browsers
	ended := cmd.Run()
	t.Log("\n" + out.String())
	reportBrowser(t, report)
	if ended != nil {
		t.Errorf("the browser tests failed: %v", ended)
	}
}

// reportBrowser reports each browser test as a Go subtest.
func reportBrowser(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file) //nolint:gosec // ours
	if err != nil {
		t.Fatalf("the browser tests have not written a report: %v", err)
	}
	var report struct {
		TestResults []struct {
			Message          string `json:"message"`
			AssertionResults []struct {
				FullName        string   `json:"fullName"`
				Status          string   `json:"status"`
				FailureMessages []string `json:"failureMessages"`
			} `json:"assertionResults"`
		} `json:"testResults"`
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range report.TestResults {
		if file.Message != "" {
			t.Error(file.Message)
		}
		for _, test := range file.AssertionResults {
			n++
			t.Run(test.FullName, func(t *testing.T) {
				if test.Status != "passed" {
					t.Errorf("%s: %s", test.Status, strings.Join(test.FailureMessages, "\n"))
				}
			})
		}
	}
	if n == 0 {
		t.Error("no browser test has run")
	}
}

// pushBroken pushes an image whose layer is no archive, and returns its reference.
func pushBroken(t *testing.T, registry string) string {
	t.Helper()
	image, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte("this is no archive"), types.DockerUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), registry, map[string]v1.Image{"broken-" + uuid.NewString(): image})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		return ref
	}
	return ""
}

func tenantName(t *testing.T, tn *stack.Tenant) string {
	t.Helper()
	got, err := tn.Operator.Tenants.Get(t.Context(), tn.ID)
	if err != nil {
		t.Fatalf("read the tenant: %v", err)
	}
	return got.Name
}

// viewerKey creates an API key with the role viewer.
func viewerKey(t *testing.T, tn *stack.Tenant) browserKey {
	t.Helper()
	_, key := tn.KeyOf(t, openapi.Viewer, openapi.APIKeyCreate{Name: "browser"})
	return keyOf(key)
}
