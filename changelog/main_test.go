// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheFileIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := render(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("CHANGELOG.md is not up to date; run go run ./changelog:\n%s", diff)
	}
}

func TestAReleaseTakesTheEntries(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "changelog")
	for file, text := range map[string]string{
		"0.9.0/old.md":      "Bugfix: Old\n\n[One](../../docs/one.md).\n",
		"0.10.0/newer.md":   "Change: Newer\n\nTwo.\n",
		"unreleased/b.md":   "Enhancement: Second\n\nFour.\n",
		"unreleased/a.md":   "Enhancement: First\n\nThree.\n\n- five\n",
		"unreleased/hot.md": "Security: Hot\n\nSix.\n",
	} {
		at := filepath.Join(folder, file)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(folder, []string{"1.0"}); err == nil || !strings.Contains(err.Error(), "not the number of a version") {
		t.Errorf("a wrong number: %v", err)
	}
	if err := run(folder, []string{"0.9.0"}); err == nil || !strings.Contains(err.Error(), "released already") {
		t.Errorf("a version that is released: %v", err)
	}
	if err := run(folder, []string{"0.11.0"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, sections, _ := strings.Cut(string(got), "\n\n## ")
	want := "0.11.0\n\n### Security\n\n- **Hot.**\n  Six.\n\n### New\n\n- **First.**\n  Three.\n\n  - five\n\n- **Second.**\n  Four.\n\n" +
		"## 0.10.0\n\n### Changes\n\n- **Newer.**\n  Two.\n\n## 0.9.0\n\n### Bugs fixed\n\n- **Old.**\n  [One](docs/one.md).\n"
	if diff := cmp.Diff(want, sections); diff != "" {
		t.Error(diff)
	}
}
