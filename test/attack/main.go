// SPDX-License-Identifier: Apache-2.0

// Command attack runs the tests of attacks that suite.txt lists, and counts their cases. Then it
// removes one defence after the other, with an overlay of the build, and checks that a test fails
// without it. So no test of the suite passes whatever the code does. Run it in the repository's root.
// The arguments suite and defences choose one of the two; names of defences can follow.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// minCases is how many cases the suite has at least.
const minCases = 80

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 1 || os.Args[1] == "suite" {
		err = runSuite(ctx)
	}
	if len(os.Args) == 1 || os.Args[1] == "defences" {
		err = errors.Join(err, removeDefences(ctx))
	}
	return err
}

// line is a line of suite.txt.
type line struct {
	surface, pkg string
	tests        []string
}

func readSuite() ([]line, error) {
	f, err := os.Open("test/attack/suite.txt")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var suite []line
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case len(words) < 3:
			return nil, fmt.Errorf("suite.txt: %q needs a surface, a package and tests", lines.Text())
		default:
			suite = append(suite, line{words[0], words[1], words[2:]})
		}
	}
	return suite, nil
}

func runSuite(ctx context.Context) error {
	suite, err := readSuite()
	if err != nil {
		return err
	}
	began, cases, failed := time.Now(), map[string]int{}, 0
	var surfaces []string
	for _, l := range suite {
		results, err := test(ctx, l.pkg, "^("+strings.Join(l.tests, "|")+")$", "")
		if err != nil {
			return err
		}
		for _, name := range l.tests {
			if _, ok := results[name]; !ok {
				fmt.Printf("FAIL  %s has no test %s\n", l.pkg, name)
				failed++
			}
		}
		if cases[l.surface] == 0 {
			surfaces = append(surfaces, l.surface)
		}
		for name, passed := range results {
			if !isLeaf(name, results) {
				continue
			}
			cases[l.surface]++
			if !passed {
				fmt.Printf("FAIL  %s %s\n", l.pkg, name)
				failed++
			}
		}
	}
	fmt.Printf("\n%-10s %s\n", "surface", "cases")
	all := 0
	for _, s := range surfaces {
		fmt.Printf("%-10s %5d\n", s, cases[s])
		all += cases[s]
	}
	fmt.Printf("%-10s %5d, of which %d failed, in %s\n\n", "all", all, failed, time.Since(began).Round(time.Second))
	switch {
	case failed > 0:
		return fmt.Errorf("%d attacks succeeded or are missing", failed)
	case all < minCases:
		return fmt.Errorf("the suite has %d cases, and %d are required", all, minCases)
	}
	return nil
}

// isLeaf reports whether a test has no subtests.
func isLeaf(name string, results map[string]bool) bool {
	for other := range results {
		if strings.HasPrefix(other, name+"/") {
			return false
		}
	}
	return true
}

func removeDefences(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "husk-attack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%-32s %s\n", "without", "the suite")
	var failed error
	for i, d := range defences {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], d.name) {
			continue
		}
		overlay, err := d.overlay(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("remove the defence %q: %w", d.name, err)
		}
		results, err := test(ctx, d.pkg, d.attacks, overlay)
		if err != nil {
			return fmt.Errorf("without the defence %q: %w", d.name, err)
		}
		red := 0
		for name, passed := range results {
			if !passed && isLeaf(name, results) {
				red++
			}
		}
		result := fmt.Sprintf("fails: %d of %d cases", red, len(results))
		if red == 0 {
			result = "PASSES, although it must fail"
			failed = errors.Join(failed, fmt.Errorf("no test notices that the defence %q is missing", d.name))
		}
		fmt.Printf("%-32s %s\n", d.name, result)
	}
	return failed
}

// overlay writes the files without the defence, and the description of them that go build reads.
func (d defence) overlay(dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, e := range d.remove {
		original := filepath.Join(root, e.file)
		from := original
		if changed, ok := replace[original]; ok {
			from = changed
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			return "", fmt.Errorf("%s contains %q %d times; update test/attack/defences.go", e.file, e.old, n)
		}
		to := filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		if err := os.WriteFile(to, bytes.Replace(text, []byte(e.old), []byte(e.new), 1), 0o600); err != nil {
			return "", err
		}
		replace[original] = to
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, raw, 0o600)
}

// test runs tests and returns which of them passed. overlay may be empty. It is passed in GOFLAGS, so
// that it also applies to what the tests build. A test that ends only with the timeout has failed: an attack can also succeed by
// stopping everything.
func test(ctx context.Context, pkg, pattern, overlay string) (map[string]bool, error) {
	flags, timeout := os.Getenv("GOFLAGS"), "20m"
	if overlay != "" {
		flags, timeout = flags+" -overlay="+overlay, "3m"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-vet=off", "-timeout="+timeout, "-run="+pattern, pkg) //nolint:gosec // from suite.txt
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "GOFLAGS="+flags)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	ended := cmd.Run()
	results := map[string]bool{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		switch {
		case event.Action == "build-output":
			problems.WriteString(event.Output)
		case strings.Contains(event.Output, "panic: test timed out"):
			results[pattern] = false
		case event.Test == "":
		case event.Action == "pass":
			results[event.Test] = true
		case event.Action == "fail" || event.Action == "skip":
			results[event.Test] = false
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("go test %s ran no test: %w\n%s", pkg, ended, problems.String())
	}
	return results, nil
}
