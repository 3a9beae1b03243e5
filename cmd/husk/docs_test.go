package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"husk"
)

var update = flag.Bool("update", false, "write docs/cli.md and the golden files anew")

// TestTheManualIsTheTreeOfCommands holds docs/cli.md to the commands; go test ./cmd/husk -update writes it.
func TestTheManualIsTheTreeOfCommands(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
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
		t.Errorf("go test ./cmd/husk -update writes the page anew:\n%s", diff)
	}
}

func manual() string {
	var b strings.Builder
	b.WriteString(`# The command line

Made from the commands themselves: ` + "`go test ./cmd/husk -update`" + ` writes this page anew. ` + "`husk COMMAND --help`" + ` says the same, ` + "`husk man DIR`" + `
writes manual pages, and ` + "`husk completion --help`" + ` says how a shell completes commands, and names from the server.

## Exit codes

| code | meaning |
|---|---|
`)
	for _, e := range exitMeanings {
		fmt.Fprintf(&b, "| %d | %s |\n", e.code, e.meaning)
	}
	b.WriteString("\n`husk run` without `-d` and `--wait` exits with the code of the container when that has ended.\n")
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
		return // its commands are explained where they stand by themselves
	}
	for _, sub := range cmd.Commands() {
		describe(b, sub)
	}
}

func TestEveryProblemHasAnExitCode(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "../../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		exit, ok := exitOfProblem[husk.Code(code)]
		known := false
		for _, e := range exitMeanings {
			known = known || e.code == exit && exit != exitOK
		}
		if !ok || !known {
			t.Errorf("%s has the exit code %d, which is not in the table", code, exit)
		}
		return true
	})
	if found < 20 {
		t.Errorf("%d codes were found", found)
	}
}

func TestManualPagesAreWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, errs := command(t, "man", dir); code != exitOK {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	for page, want := range map[string]string{"husk.1": "what was waited for has not happened in time", "husk-run.1": "--restart", "husk-volumes-create.1": "--size"} {
		raw, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(string(raw), `\-`, "-"), want) {
			t.Errorf("%s does not say %q", page, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "husk-man.1")); err == nil {
		t.Error("there is a page for what is hidden")
	}
}

// The texts are read on terminals of 80 columns and in the examples of a page.
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
			t.Errorf("%s is not explained", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(root(&app{}))
}
