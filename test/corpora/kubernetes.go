// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// kubernetes counts what husk apply accepts.
type kubernetes struct {
	husk            string
	total, accepted map[string]int // by kind
	reasons         map[string]map[string]*reason
}

// reason is why husk refuses documents.
type reason struct {
	documents int
	only      int // of them have no other reason
	example   string
}

// Exit codes of husk that mean that a document was refused, and not that the program cannot work.
var refused = []int{2, 3, 5, 6}

// check applies one document, together with others that it needs.
func (k *kubernetes) check(ctx context.Context, d document, needs []*yaml.Node) error {
	var in, errs bytes.Buffer
	e := yaml.NewEncoder(&in)
	for _, node := range append(needs, d.node) {
		if err := e.Encode(node); err != nil {
			return fmt.Errorf("%s: %w", d.file, err)
		}
	}
	cmd := exec.CommandContext(ctx, k.husk, "apply", "--dry-run=server", "-f", "-")
	cmd.Stdin, cmd.Stderr = &in, &errs
	err := cmd.Run()
	k.total[d.kind]++
	if err == nil {
		k.accepted[d.kind]++
		return nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !slices.Contains(refused, exit.ExitCode()) {
		return fmt.Errorf("%s: %w: %s", d.file, err, errs.String())
	}
	found := map[string]bool{}
	for line := range strings.Lines(errs.String()) {
		if why, ok := reasonOf(line); ok {
			found[why] = true
		}
	}
	for why := range found {
		if k.reasons[d.kind] == nil {
			k.reasons[d.kind] = map[string]*reason{}
		}
		r := k.reasons[d.kind][why]
		if r == nil {
			r = &reason{example: d.file}
			k.reasons[d.kind][why] = r
		}
		r.documents++
		if len(found) == 1 {
			r.only++
		}
	}
	return nil
}

var (
	// A mistake in the document: husk: standard input:3: spec.hostNetwork: text.
	mistake = regexp.MustCompile(`^husk: standard input:\d+: (.*)$`)
	// A refusal of the API: husk: standard input:3, pod/web: text (code, field spec.x).
	refusal = regexp.MustCompile(`^husk: standard input:\d+, \S+: .* \((.*)\)$`)
	index   = regexp.MustCompile(`\[\d+\]`)
	quoted  = regexp.MustCompile(`"[^"]*"`)
)

// reasonOf returns the reason in a line of husk, without what is special in this document.
func reasonOf(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if m := mistake.FindStringSubmatch(line); m != nil {
		return quoted.ReplaceAllString(index.ReplaceAllString(m[1], "[]"), `"…"`), true
	}
	if m := refusal.FindStringSubmatch(line); m != nil {
		return "the API: " + index.ReplaceAllString(m[1], "[]"), true
	}
	return line, strings.HasPrefix(line, "husk: ") && !strings.HasPrefix(line, "husk: warning: ")
}

// write writes the kinds, the most frequent first, and the reasons of each.
func (k *kubernetes) write(w io.Writer) {
	kinds := slices.SortedFunc(maps.Keys(k.total), func(a, b string) int {
		return cmp.Or(k.total[b]-k.total[a], strings.Compare(a, b))
	})
	for _, kind := range kinds {
		fmt.Fprintf(w, "%s: %d of %d accepted (%d %%)\n", kind, k.accepted[kind], k.total[kind], percent(k.accepted[kind], k.total[kind]))
		reasons := k.reasons[kind]
		for _, why := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
			return cmp.Or(reasons[b].documents-reasons[a].documents, strings.Compare(a, b))
		}) {
			r := reasons[why]
			fmt.Fprintf(w, "  %3d (%d only for this)  %s  [%s]\n", r.documents, r.only, why, r.example)
		}
	}
}
