// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"

	"husk/cli/manifest"
)

// What was printed for a viewer has texts in place of what viewers do not see. They must not become the values.
func TestADocumentThatWasPrintedForAViewerIsRefused(t *testing.T) {
	t.Parallel()
	const document = `apiVersion: husk/v1
kind: Pod
name: web
spec:
  containers: [{name: main, image: "registry.example.com/web:1", env: [{name: PASSWORD, value: (hidden)}]}]
  resources: {cpuMillis: 100, memoryMiB: 128}
`
	if _, err := manifest.Parse("mine.yaml", []byte(document)); err != nil {
		t.Errorf("a document that somebody has written is refused: %v", err)
	}
	if _, err := manifest.Parse("printed.yaml", []byte(document+"status: {phase: Running}\n")); err == nil || !strings.Contains(err.Error(), "printed for a viewer") {
		t.Errorf("a document without the values is accepted: %v", err)
	}
}
