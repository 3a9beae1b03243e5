// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// .dockerignore selects the files that the image is built from. Without this test, only docker's
// build would report a missing package.
func TestTheImageIsBuiltFromEveryPackageOfTheDaemon(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	let := strings.Fields(string(raw))
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{with .Module}}{{if .Main}}{{slice $.Dir (len .Dir)}}{{end}}{{end}}`, "../../cmd/huskd").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		folder, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if !slices.Contains(let, "!"+folder) {
			t.Errorf(".dockerignore excludes %s, which huskd needs: add !%s", path, folder)
		}
	}
}
