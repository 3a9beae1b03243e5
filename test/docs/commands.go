// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Mention is a command that a text prints.
type Mention struct {
	Where string // a file and a line
	Line  string // the command and what follows it, such as husk pods -l app=web
	// Code is true if the text marks the mention as code. In prose, other words of the sentence
	// may follow the command.
	Code bool
}

// Mentions finds the commands of a program in all texts for users: the documentation, the contract,
// the strings in Go code, and the dashboard. root is the directory of the repository.
func Mentions(root, program string) ([]Mention, error) {
	var found []Mention
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"build", "bin", "dist", "node_modules", "testdata", "decisions"}, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		texts, err := textsOf(file)
		for _, t := range texts {
			found = append(found, t.mentions(program)...)
		}
		return err
	})
	return found, err
}

// text is a piece of a file.
type text struct {
	where   string
	content string
	code    bool
}

// textsOf returns the texts for users in a file, if it has any.
func textsOf(file string) ([]text, error) {
	name := filepath.Base(file)
	if strings.HasSuffix(name, ".gen.go") || strings.Contains(name, ".test.") || strings.HasSuffix(name, "_test.go") || name == "schema.d.ts" {
		return nil, nil
	}
	raw, err := os.ReadFile(file) //nolint:gosec // a file of the repository
	if err != nil {
		return nil, err
	}
	switch filepath.Ext(file) {
	case ".go":
		return goStrings(file, raw)
	case ".md", ".yaml", ".yml":
		return marked(file, string(raw), "`[^`]+`|(?m)^\\s*(?:- )?\\$? ?(?:husk|huskd) .*$|(?s:```.*?```)", true), nil
	case ".ts", ".tsx":
		return marked(file, string(raw), "(?s)<code>.*?</code>|'[^'\\n]*'|\"[^\"\\n]*\"|`[^`]*`", true), nil
	default:
		return nil, nil
	}
}

// goStrings returns the string literals of a Go file.
func goStrings(file string, raw []byte) ([]text, error) {
	if _, err := parser.ParseFile(token.NewFileSet(), file, raw, parser.PackageClauseOnly); err != nil {
		return nil, err
	}
	var texts []text
	var s scanner.Scanner
	set := token.NewFileSet()
	f := set.AddFile(file, set.Base(), len(raw))
	s.Init(f, raw, nil, 0)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return texts, nil
		}
		if tok != token.STRING {
			continue
		}
		content, err := strconv.Unquote(lit)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text{fmt.Sprintf("%s:%d", file, f.Line(pos)), content, false})
	}
}

// marked returns the parts of a file that a pattern matches.
func marked(file, content, pattern string, code bool) []text {
	var texts []text
	for _, at := range regexp.MustCompile(pattern).FindAllStringIndex(content, -1) {
		line := 1 + strings.Count(content[:at[0]], "\n")
		texts = append(texts, text{fmt.Sprintf("%s:%d", file, line), content[at[0]:at[1]], code})
	}
	return texts
}

// isValue matches a text that ends with a flag, so that the next word is the flag's value, as in
// --client-id husk.
var isValue = regexp.MustCompile(`--[a-z-]+ $`)

// mentions finds the commands of a program in a text. A command ends at the end of its line.
func (t text) mentions(program string) []Mention {
	var found []Mention
	content := strings.ReplaceAll(t.content, "\\\n", " ")
	for _, at := range regexp.MustCompile(`(^|[^\w./-])`+program+` +-?-?[a-z]`).FindAllStringIndex(content, -1) {
		start := at[0] + strings.Index(content[at[0]:at[1]], program)
		if isValue.MatchString(content[:start]) {
			continue
		}
		line, _, _ := strings.Cut(content[start:], "\n")
		line, _, _ = strings.Cut(line, ". ")
		if end := strings.IndexAny(line, "`<>|;#&'\")(…,\\"); end >= 0 {
			line = line[:end]
		}
		where := fmt.Sprintf("%s, line %d of the text", t.where, 1+strings.Count(content[:start], "\n"))
		found = append(found, Mention{where, strings.TrimSpace(line), t.code})
	}
	return found
}

// verbs are words that can follow the name of a program in a sentence and are not commands.
var verbs = strings.Fields(`
	accepts also asks come connects cordons deletes does ends exits finds has imports is keeps logs master must opens prints reads reports revokes says sends stops then waits would writes
`)

// Check returns an error if the mentioned command does not exist or does not have one of the
// mentioned flags.
func (m Mention) Check(root *cobra.Command) error {
	words := strings.Fields(m.Line)[1:]
	cmd, called := root, ""
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		word := strings.TrimRight(words[0], ".:")
		next := child(cmd, word)
		if next == nil {
			if cmd == root && slices.Contains(verbs, word) {
				return nil
			}
			// After the plural of a noun, a word is a name: husk nodes metal. After the singular,
			// it is a command: husk node cordon.
			isVerb := m.Code && cmd.HasSubCommands() && !strings.HasSuffix(called, "s") && singleWord.MatchString(word)
			if cmd == root || isVerb {
				return fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+word)
			}
			break
		}
		cmd, called, words = next, word, words[1:]
	}
	return m.flags(cmd, words)
}

var singleWord = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

func child(cmd *cobra.Command, word string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == word || sub.HasAlias(word) {
			return sub
		}
	}
	return nil
}

// ownArguments are the commands whose arguments may be flags of another program.
var ownArguments = []string{"run", "exec"}

// flags checks the flags after a command.
func (m Mention) flags(cmd *cobra.Command, words []string) error {
	for i := 0; i < len(words); i++ {
		word := strings.TrimRight(words[i], ".:")
		name, _, hasValue := strings.Cut(word, "=")
		switch {
		case word == "--" || word == "-":
			return nil
		case strings.HasPrefix(word, "--"):
			flag := cmd.Flags().Lookup(name[2:])
			if flag == nil {
				flag = cmd.InheritedFlags().Lookup(name[2:])
			}
			if flag == nil && name != "--help" {
				return fmt.Errorf("%q has no flag %s", cmd.CommandPath(), name)
			}
			if flag != nil && flag.NoOptDefVal == "" && !hasValue {
				i++
			}
		case strings.HasPrefix(word, "-"):
			for j, letter := range name[1:] {
				flag := cmd.Flags().ShorthandLookup(string(letter))
				if flag == nil {
					flag = cmd.InheritedFlags().ShorthandLookup(string(letter))
				}
				if flag == nil && letter != 'h' {
					return fmt.Errorf("%q has no flag -%c", cmd.CommandPath(), letter)
				}
				if flag != nil && flag.NoOptDefVal == "" {
					if j == len(name)-2 {
						i++
					}
					break
				}
			}
		case slices.Contains(ownArguments, cmd.Name()):
			return nil
		}
	}
	return nil
}
