// SPDX-License-Identifier: Apache-2.0

// Command changelog writes CHANGELOG.md from the entries in changelog/. With the number of a version
// as its argument, it first moves the entries of unreleased/ to a folder of that version.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kinds are the kinds of entries, in the order of the file, with the heading of each.
var kinds = []struct{ name, heading string }{
	{"Security", "Security"}, {"Change", "Changes"}, {"Bugfix", "Bugs fixed"}, {"Enhancement", "New"},
}

func main() {
	if err := run("changelog", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "changelog:", err)
		os.Exit(1)
	}
}

// run writes CHANGELOG.md next to the folder of the entries.
func run(folder string, args []string) error {
	if len(args) > 1 {
		return errors.New("the only argument is the number of a version, such as 0.1.0")
	}
	if len(args) == 1 {
		if err := release(folder, args[0]); err != nil {
			return err
		}
	}
	text, err := render(folder)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "..", "CHANGELOG.md"), text, 0o644) //nolint:gosec // a file for everybody
}

var number = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)$`)

// release moves the entries of unreleased/ to the folder of a version.
func release(folder, version string) error {
	if !number.MatchString(version) {
		return fmt.Errorf("%q is not the number of a version, such as 0.1.0", version)
	}
	to := filepath.Join(folder, version)
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists: the version is released already", to)
	}
	return os.Rename(filepath.Join(folder, "unreleased"), to)
}

// render returns the text of CHANGELOG.md: the newest version first, and in each the kinds of
// entries in the order of kinds, and the entries by their names.
func render(folder string) ([]byte, error) {
	dirs, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, d := range dirs {
		if d.IsDir() {
			versions = append(versions, d.Name())
		}
	}
	slices.SortFunc(versions, newestFirst)
	var b bytes.Buffer
	b.WriteString("# Changelog\n\nMade from the entries in [changelog/](changelog/README.md) by `go run ./changelog`.\n")
	for _, v := range versions {
		title := v
		if v == "unreleased" {
			title = "Not released yet"
		}
		fmt.Fprintf(&b, "\n## %s\n", title)
		if err := section(&b, filepath.Join(folder, v)); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// section writes the entries of one version.
func section(b *bytes.Buffer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	entries := map[string][]string{}
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // an entry of the repository
		if err != nil {
			return err
		}
		head, text, _ := strings.Cut(string(raw), "\n\n")
		kind, title, found := strings.Cut(strings.TrimSpace(head), ": ")
		if !found || !slices.ContainsFunc(kinds, func(k struct{ name, heading string }) bool { return k.name == kind }) {
			return fmt.Errorf("%s does not begin with a kind of entry: see changelog/README.md", file)
		}
		entries[kind] = append(entries[kind], fmt.Sprintf("\n- **%s.**\n%s", title, indented(text)))
	}
	for _, k := range kinds {
		if len(entries[k.name]) > 0 {
			fmt.Fprintf(b, "\n### %s\n%s", k.heading, strings.Join(entries[k.name], ""))
		}
	}
	return nil
}

// indented returns a text as part of an item of a list. Links lead from CHANGELOG.md.
func indented(text string) string {
	var b strings.Builder
	text = strings.ReplaceAll(text, "](../../", "](")
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		if strings.TrimSpace(line) != "" {
			line = "  " + line
		}
		b.WriteString(line)
	}
	return b.String()
}

// newestFirst compares the names of two folders. What is not released yet is the newest.
func newestFirst(a, b string) int {
	x, y := number.FindStringSubmatch(a), number.FindStringSubmatch(b)
	if x == nil || y == nil {
		return cmp.Compare(len(x), len(y))
	}
	for i := range 3 {
		m, err1 := strconv.Atoi(x[i+1])
		n, err2 := strconv.Atoi(y[i+1])
		if err1 == nil && err2 == nil && m != n {
			return n - m
		}
	}
	return 0
}
