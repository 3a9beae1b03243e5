// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/cli/habits"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// docs/cli.md is generated from the commands. go test ./cli -update writes it.
func TestManualMatchesTheCommands(t *testing.T) {
	t.Parallel()
	const file = "../docs/cli.md"
	want := manual()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the page does not match the commands; write it with go test ./cli -update:\n%s", diff)
	}
}

func manual() string {
	var b strings.Builder
	b.WriteString(`# The command line

This page is generated from the commands: ` + "`go test ./cli -update`" + ` rewrites it.
` + "`husk COMMAND --help`" + ` prints the same.
` + "`husk man DIR`" + ` writes manual pages.
` + "`husk completion SHELL --help`" + ` explains how to load completions of commands, and of names from the server, into bash, fish, powershell or zsh.

## Exit codes

| code | meaning |
|---|---|
`)
	for _, e := range exit.Meanings {
		fmt.Fprintf(&b, "| %d | %s |\n", e.Code, e.Meaning)
	}
	b.WriteString("\nWithout `-d` or `--wait`, `husk run` exits with the exit code of the container.\n")
	b.WriteString("\n## For users of docker and kubectl\n\nThese command lines of docker and kubectl work with `husk` in place of the first word.\nIts own forms have the same effect.\n\n| docker and kubectl | husk |\n|---|---|\n")
	for _, h := range habits.Table {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", h.Typed, h.Ours)
	}
	root := root(&app{})
	root.InitDefaultHelpCmd()
	describe(&b, root)
	return b.String()
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Name() == "exit-codes" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	fmt.Fprintf(b, "```text\n%s\n```\n", strings.TrimRight(long, "\n"))
	if cmd.Runnable() && cmd.HasParent() && (!cmd.HasSubCommands() || cmd.Args != nil) {
		fmt.Fprintf(b, "\n```text\n%s\n```\n", cmd.UseLine())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso: `%s`.\n", strings.Join(cmd.Aliases, "`, `"))
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\n```console\n%s\n```\n", strings.ReplaceAll("\n"+cmd.Example, "\n  ", "\n$ ")[1:])
	}
	flags := cmd.LocalFlags()
	if flags.HasAvailableFlags() {
		b.WriteString("\n| flag | default | meaning |\n|---|---|---|\n")
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			preset := f.DefValue
			if preset == "[]" || preset == "false" {
				preset = ""
			}
			fmt.Fprintf(b, "| %s | %s | %s |\n", name, preset, strings.ReplaceAll(f.Usage, "|", "\\|"))
		})
	}
	if cmd.Name() == "get" {
		return // its commands have sections of their own
	}
	for _, sub := range cmd.Commands() {
		describe(b, sub)
	}
}

func TestManualPagesAreWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, errs := command(t, "man", dir); code != exit.OK {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	for page, want := range map[string]string{"husk.1": "did not happen in time", "husk-run.1": "--restart", "husk-volumes-create.1": "--size"} {
		raw, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(string(raw), `\-`, "-"), want) {
			t.Errorf("%s does not say %q", page, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "husk-man.1")); err == nil {
		t.Error("there is a page for a hidden command")
	}
}

// Lines of help texts must have at most 84 columns.
func TestHelpFitsATerminal(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Long) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 84 {
				t.Errorf("%s: a line of help has %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		if cmd.Short == "" {
			t.Errorf("%s has no description", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(root(&app{}))
}
