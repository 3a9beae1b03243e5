// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Limits for the size of a package, so that a new reader can read it in one sitting. Generated code
// and tests do not count.
const (
	maxFiles = 25
	maxLines = 4000
)

func TestNoPackageIsTooLarge(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for _, p := range ours {
		files, lines := 0, 0
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(p.Dir, name)
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(source, []byte("\n// Code generated ")) || bytes.HasPrefix(source, []byte("// Code generated ")) {
				continue
			}
			files++
			lines += bytes.Count(source, []byte("\n"))
		}
		if files > maxFiles || lines > maxLines {
			t.Errorf("%s has %d files and %d lines of our own; at most %d files and %d lines are allowed: split it by purpose", p.ImportPath, files, lines, maxFiles, maxLines)
		}
	}
}
