// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changelog/README.md describes the form of an entry.
func TestChangelogEntriesHaveTheirForm(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("changelog/*/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no changelog entries: %v", err)
	}
	name := regexp.MustCompile(`^[a-z0-9-]+\.md$`)
	head := regexp.MustCompile(`^(Security|Bugfix|Change|Enhancement): .*[^.]$`)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		title, text, _ := strings.Cut(string(raw), "\n\n")
		if !name.MatchString(filepath.Base(file)) || !head.MatchString(title) || strings.TrimSpace(text) == "" {
			t.Errorf("%s does not have the form that changelog/README.md describes", file)
		}
	}
}
