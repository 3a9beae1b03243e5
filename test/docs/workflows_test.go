// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"gopkg.in/yaml.v3"
)

// What the workflows of the public CI run has to exist.
func TestWorkflowsRunWhatExists(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no workflows: %v", err)
	}
	target, script := regexp.MustCompile(`\bmake ([a-z-]+)`), regexp.MustCompile(`(?m)^\s*((?:test|deploy)/[a-z/]+)`)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w struct {
			On   map[string]any
			Jobs map[string]struct {
				Steps []struct{ Run, Uses string }
			}
		}
		if err := yaml.Unmarshal(raw, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var runs []string
		for _, job := range w.Jobs {
			for _, step := range job.Steps {
				if (step.Run == "") == (step.Uses == "") {
					t.Errorf("%s: a step of a job runs or uses something, and not both: %+v", file, step)
				}
				runs = append(runs, step.Run)
			}
		}
		if len(w.On) == 0 || len(runs) == 0 {
			t.Errorf("%s has no triggers or no steps", file)
		}
		if dispatch, ok := w.On["workflow_dispatch"].(map[string]any); ok {
			options := dispatch["inputs"].(map[string]any)["target"].(map[string]any)["options"].([]any)
			for _, o := range options {
				runs = append(runs, "make "+o.(string))
			}
		}
		for _, run := range runs {
			for _, m := range target.FindAllStringSubmatch(run, -1) {
				if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
					t.Errorf("%s runs make %s, which the Makefile does not have", file, m[1])
				}
			}
			for _, m := range script.FindAllStringSubmatch(run, -1) {
				if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
					t.Errorf("%s runs %s: %v", file, m[1], err)
				}
			}
		}
	}
}
