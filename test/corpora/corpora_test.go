// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/dev/devtest"
	"husk/test/site"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func TestMain(m *testing.M) { devtest.Main(m) }

// login builds the husk program, and logs it in to an installation without machines.
func login(t *testing.T) (husk string) {
	t.Helper()
	husk = filepath.Join(t.TempDir(), "husk")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", husk, "../../cmd/husk").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s := site.Start(t)
	tenant, err := s.Tenant(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("HUSK_API", s.URL)
	t.Setenv("HUSK_CLIENT_ID", tenant.ClientID.String())
	t.Setenv("HUSK_CLIENT_SECRET", tenant.ClientSecret)
	return husk
}

func TestReportSaysWhatIsAcceptedAndWhyTheRestIsNot(t *testing.T) {
	husk := login(t)
	var out strings.Builder
	share, err := report(t.Context(), &out, husk, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/report.txt", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/report.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" || share != 50 {
		t.Errorf("%d %% of the pods (-want +got):\n%s", share, diff)
	}
}

// A program that cannot work would otherwise look like one that refuses everything.
func TestReportFailsWithoutALogin(t *testing.T) {
	husk := login(t)
	t.Setenv("HUSK_CLIENT_SECRET", "wrong")
	if _, err := report(t.Context(), &strings.Builder{}, husk, "testdata"); err == nil {
		t.Error("there is a report")
	}
}
