// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Sentences before and after they were rewritten. The rules must report each sentence in before and
// none in after.
var sentences = []struct{ before, after string }{
	{"SessionCheck is how often it is looked whether its caller still may", "SessionCheck is how often the server re-checks that the caller is still authorized"},
	{"Why the volume is not further.", "Why the volume is not ready yet."},
	{"Into how long pieces usage is cut", "Length of each reporting interval"},
	{"Wait until objects are as they are to be", "Wait until objects reach a given state"},
	{"Delete pods, …, images, and who may do what", "Delete pods, …, images, accounts, keys, users or issuers"},
	{"node is charged for other than what it holds; it gets no pods", "the node's allocation does not match its pods; not scheduling onto it"},
	{"Memory that could not be had for something else", "Memory in use that cannot be reclaimed"},
	{"Less than none where an earlier period was booked too much.", "Negative if an earlier period was overcounted."},
	{"not where it should be; trying again", "pod is not in its desired state; retrying"},
	{
		"It is looked at every pod whenever one of the node's has changed, and every now and then.",
		"Every pod is re-checked when any pod on the node changes, and periodically.",
	},
	{"placements first, then who must go, then who waits and why", "placements first, then evictions, then refusals with their reasons"},
	{
		"Output waits ten seconds for who is attached, and input for ever",
		"Output waits up to ten seconds for attached clients; input waits indefinitely",
	},
	{"A pod that finds no room waits; a tenant orders another pod.", "A pod that does not fit waits; a tenant creates another pod."},
	{"It tells whether the user was shut out.", "It reports whether the user's access was revoked."},
	{"The list is read anew in the place of the old one, beside the figures.", "The list is read again instead of the old one, next to the metrics."},
	{"Whoever may no more goes on until the lease ends.", "A caller whose access was revoked continues until the lease ends."},
}

func TestValeFindsOldWordsAndHabits(t *testing.T) {
	t.Parallel()
	var before, after strings.Builder
	for _, s := range sentences {
		fmt.Fprintf(&before, "%s\n\n", s.before)
		fmt.Fprintf(&after, "%s\n\n", s.after)
	}
	bad, good := vale(t, before.String()), vale(t, after.String())
	for i, s := range sentences {
		if len(bad[2*i+1]) == 0 {
			t.Errorf("no rule reports %q", s.before)
		}
		if found := good[2*i+1]; len(found) > 0 {
			t.Errorf("%q is good English, but the rules report %v", s.after, found)
		}
	}
}

// vale returns the rules' reports about a text, by line.
func vale(t *testing.T, text string) map[int][]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/go.mod", "vale", "--config=.vale.ini", "--no-exit", "--output=JSON", file)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("vale: %v: %s", err, out)
	}
	var alerts map[string][]struct {
		Line    int
		Message string
	}
	if err := json.Unmarshal(out, &alerts); err != nil {
		t.Fatalf("vale printed %s: %v", out, err)
	}
	found := map[int][]string{}
	for _, a := range alerts[file] {
		found[a.Line] = append(found[a.Line], a.Message)
	}
	return found
}

// The extracted texts keep the line numbers of the source.
func TestProseKeepsLineNumbers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ source, want string }{
		"a.go": {
			"// Package a is short.\npackage a\n\nimport \"net/http\"\n\n// x says it.\nvar x = errors.New(\"the pod is gone\") //nolint:foo // as it says\n",
			"Package a is short.\n\n\n\n\nx says it.\nas it says. the pod is gone\n",
		},
		"a.yaml":   {"a:\n  description: What it is for.\n  operationId: getPod\n# a comment\n", "\nWhat it is for.\n\na comment\n"},
		"a.sql":    {"-- name: Pods :many\nSELECT 1;\n", "name: Pods :many\n\n"},
		"a.tsx":    {"// Pods are here.\nconst a = <p className=\"wide table\">No pods yet</p>;\n", "Pods are here.\nNo pods yet\n"},
		"Makefile": {"up: build ## Start everything\n\t@run\n", "Start everything\n\n"},
	} {
		to := newLines([]byte(c.source))
		if err := reader(name)(name, []byte(c.source), to); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimRight(string(to.bytes()), "\n"); got != strings.TrimRight(c.want, "\n") {
			t.Errorf("%s:\n%q, want\n%q", name, got, strings.TrimRight(c.want, "\n"))
		}
	}
}
