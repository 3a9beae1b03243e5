// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsOf returns the names of a package's tests.
func testsOf(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("package %s has no tests: %v", pkg, err)
	}
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// The suite takes long, so nobody runs it after each change. What it names must not move away meanwhile.
func TestTheSuiteNamesWhatExists(t *testing.T) {
	t.Chdir("../..")
	suite, err := readSuite()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range suite {
		exist := testsOf(t, l.pkg)
		for _, name := range l.tests {
			if !slices.Contains(exist, name) {
				t.Errorf("%s has no test %s; correct test/attack/suite.txt", l.pkg, name)
			}
		}
	}
	for _, d := range defences {
		attacks := regexp.MustCompile(d.attacks)
		if !slices.ContainsFunc(testsOf(t, d.pkg), attacks.MatchString) {
			t.Errorf("%s has no test %s, which is to fail without the defence %q; correct test/attack/defences.go", d.pkg, d.attacks, d.name)
		}
		if _, err := d.overlay(filepath.Join(t.TempDir(), "overlay")); err != nil {
			t.Errorf("remove the defence %q: %v", d.name, err)
		}
	}
	if len(suite) == 0 || len(defences) == 0 {
		t.Error("there is nothing to check")
	}
}
