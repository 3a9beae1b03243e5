// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Every source file of our own names its license at the top, so that a copied file keeps it (https://spdx.dev/ids).
func TestSourcesNameTheirLicense(t *testing.T) {
	t.Parallel()
	checked := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "node_modules", "build", "bin", "dist", "testdata"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !slices.Contains([]string{".go", ".ts", ".tsx", ".css"}, filepath.Ext(path)) {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		head := source[:min(len(source), 400)]
		if bytes.Contains(head, []byte("DO NOT EDIT")) || bytes.Contains(head, []byte("auto-generated")) {
			return nil
		}
		checked++
		if line, _, _ := bytes.Cut(source, []byte("\n")); !bytes.Contains(line, []byte("SPDX-License-Identifier: Apache-2.0")) {
			t.Errorf("%s does not begin with // SPDX-License-Identifier: Apache-2.0", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 400 {
		t.Errorf("only %d files were checked", checked)
	}
}
