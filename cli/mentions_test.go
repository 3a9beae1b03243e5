// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"husk/test/docs"
)

// Every husk command and flag that a text mentions must exist. The texts are the documentation, the
// OpenAPI contract, the messages and the dashboard.
func TestPrintedCommandsExist(t *testing.T) {
	t.Parallel()
	found, err := docs.Mentions("..", "husk")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 200 {
		t.Errorf("found only %d commands", len(found))
	}
	tree := root(&app{})
	tree.InitDefaultHelpCmd()
	tree.InitDefaultCompletionCmd()
	for _, m := range found {
		if err := m.Check(tree); err != nil {
			t.Errorf("%s: %s: %v", m.Where, m.Line, err)
		}
	}
}

func TestCommandsThatDoNotExistAreReported(t *testing.T) {
	t.Parallel()
	tree := root(&app{})
	for line, ok := range map[string]bool{
		"husk pods -l app=web --watch": true, "husk keys create": false, "husk api-key make NAME": false, "husk pods --label app": false, "husk run -d IMAGE --anything": true,
		"husk run --anything IMAGE": false, "husk exec -it web -- sh -c ls": true, "husk node cordon metal-7": true, "husk node empty metal-7": false, "husk login --context NAME": true,
		"husk context": true, "husk run -itx IMAGE": false, "husk nodes": true, "husk delete pods -l app=web": true,
	} {
		if err := (docs.Mention{Line: line, Code: true}).Check(tree); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
	for line, ok := range map[string]bool{"husk prints a URL": true, "husk keys create makes one": false, "husk login URL creates a context": true} {
		if err := (docs.Mention{Line: line}).Check(tree); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
}
