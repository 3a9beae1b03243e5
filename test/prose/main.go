// SPDX-License-Identifier: Apache-2.0

// Command prose extracts the English texts from source files for a prose linter: comments, messages
// and help texts in Go code, descriptions in YAML, comments in SQL and scripts, and the texts of
// the dashboard. It writes a text file for each source file, with the same number of lines, so that
// the linter's line numbers match the source. The linter reads Markdown directly.
//
// Usage: prose DIRECTORY [FILE ...]. Without files, it reads all files that git does not ignore.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: prose DIRECTORY [FILE ...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(1)
	}
}

func run(to string, files []string) error {
	if len(files) == 0 {
		out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").Output() //nolint:noctx // it is short
		if err != nil {
			return fmt.Errorf("git ls-files: %w", err)
		}
		files = strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	for _, name := range files {
		read := reader(name)
		if read == nil {
			continue
		}
		source, err := os.ReadFile(name)
		if os.IsNotExist(err) { // deleted and not committed yet
			continue
		}
		if err != nil {
			return err
		}
		lines := newLines(source)
		if err := read(name, source, lines); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !lines.any {
			continue
		}
		target := filepath.Join(to, name+".txt")
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, lines.bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// reader returns the function that extracts the texts of a file with this name, or nil if the file
// has no texts.
func reader(name string) func(name string, source []byte, to *lines) error {
	for _, generated := range []string{".gen.go", ".sql.go", "store/db/", "web/src/api/schema", "web/dist/", "package-lock.json", "docs/cli.md", "testdata/"} {
		if strings.Contains(name, generated) {
			return nil
		}
	}
	switch filepath.Ext(name) {
	case ".go":
		return goProse
	case ".yaml", ".yml":
		return yamlProse
	case ".sql":
		return comments("--")
	case ".sh", ".mk":
		return comments("#")
	case ".ts", ".tsx":
		return webProse
	}
	switch filepath.Base(name) {
	case "Makefile", "run", "lint", "deps.sh", "spectral", "Dockerfile":
		return comments("#")
	}
	return nil
}

// lines are the extracted texts of a source file, line by line.
type lines struct {
	text []string
	any  bool
}

func newLines(source []byte) *lines {
	return &lines{text: make([]string, bytes.Count(source, []byte("\n"))+2)}
}

// add adds a text that begins at the given line. Lines are counted from 1.
func (l *lines) add(at int, text string) {
	for i, line := range strings.Split(text, "\n") {
		if n := at - 1 + i; n < len(l.text) && strings.TrimSpace(line) != "" {
			if l.text[n] != "" {
				l.text[n] += ". "
			}
			l.text[n] += strings.TrimSpace(line)
			l.any = true
		}
	}
}

func (l *lines) bytes() []byte { return []byte(strings.Join(l.text, "\n") + "\n") }

var (
	words      = regexp.MustCompile(`[A-Za-z]{2,}[ ,;:]+[A-Za-z]+`)
	sqlOrCode  = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|create|alter|with|drop|grant|truncate) |^\s*[<{]|=>|\bfunc\b`)
	directive  = regexp.MustCompile(`^(nolint|go:|lint:|line )`)
	verbs      = regexp.MustCompile(`%[-+# 0]*[0-9]*\.?[0-9]*[a-zA-Z]`)
	codeInText = regexp.MustCompile("`[^`]*`")
)

func goProse(name string, source []byte, to *lines) error {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	if ast.IsGenerated(tree) {
		return nil
	}
	for _, group := range tree.Comments {
		for _, c := range group.List {
			text := strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(c.Text, "/*"), "*/"), "//")
			if strings.HasPrefix(text, "\t") || directive.MatchString(text) && !strings.Contains(text, "//") {
				continue // code in a comment, or a directive
			}
			if _, reason, ok := strings.Cut(text, " // "); ok && directive.MatchString(text) {
				text = reason
			}
			to.add(set.Position(c.Pos()).Line, codeInText.ReplaceAllString(text, "code"))
		}
	}
	if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "test/") {
		return nil // the strings in tests are data
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(n.Value)
			if err != nil || !words.MatchString(text) || sqlOrCode.MatchString(text) {
				return true
			}
			to.add(set.Position(n.Pos()).Line, verbs.ReplaceAllString(strings.ReplaceAll(text, "\t", " "), "X"))
		}
		return true
	})
	return nil
}

// readable are the keys in YAML whose values are texts.
var readable = map[string]bool{"description": true, "summary": true, "title": true, "message": true, "x-repeatable": true}

func yamlProse(_ string, source []byte, to *lines) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil {
		return err
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i], n.Content[i+1]
				if readable[key.Value] && value.Kind == yaml.ScalarNode {
					at := value.Line
					if value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
						at++
					}
					to.add(at, codeInText.ReplaceAllString(value.Value, "code"))
				}
				walk(value)
			}
			return
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(&doc)
	return comments("#")("", source, to)
}

// comments extracts the lines that begin with a comment mark, and the help texts of a Makefile.
func comments(mark string) func(name string, source []byte, to *lines) error {
	return func(_ string, source []byte, to *lines) error {
		for i, line := range strings.Split(string(source), "\n") {
			text := strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(text, mark); ok && !strings.HasPrefix(rest, "!") {
				to.add(i+1, codeInText.ReplaceAllString(strings.TrimLeft(rest, mark+" "), "code"))
			} else if _, help, ok := strings.Cut(line, " ## "); ok {
				to.add(i+1, help)
			}
		}
		return nil
	}
}

var (
	webString  = regexp.MustCompile("'((?:\\\\.|[^'\\\\\n])*)'|\"((?:\\\\.|[^\"\\\\\n])*)\"|`((?:\\\\.|[^`\\\\\n])*)`")
	webText    = regexp.MustCompile(`>([^<>{}=;()]+)[<{]|^\s*([A-Z][^<>{}=;()]+)$|\}([^<>{}=;()]+)[<{]`)
	webComment = regexp.MustCompile(`^\s*(?://|/?\*+)\s?(.*?)(?:\*/)?$|\s//\s(.*)$`)
	webHole    = regexp.MustCompile(`\$\{[^}]*\}`)
	webClass   = regexp.MustCompile(`className=|^import |^export .* from `)
)

// webProse extracts comments, strings of several words, and the text between tags from TypeScript,
// line by line.
func webProse(_ string, source []byte, to *lines) error {
	for i, line := range strings.Split(string(source), "\n") {
		if m := webComment.FindStringSubmatch(line); m != nil {
			to.add(i+1, codeInText.ReplaceAllString(m[1]+m[2], "code"))
			if m[1] != "" {
				continue
			}
		}
		if webClass.MatchString(line) {
			line = regexp.MustCompile(`className="[^"]*"`).ReplaceAllString(line, "")
		}
		for _, found := range [][][]string{webString.FindAllStringSubmatch(line, -1), webText.FindAllStringSubmatch(line, -1)} {
			for _, m := range found {
				if text := webHole.ReplaceAllString(strings.Join(m[1:], ""), "X"); words.MatchString(text) {
					to.add(i+1, text)
				}
			}
		}
	}
	return nil
}
