// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/server/metrics"
	"husk/test/docs"
)

var update = flag.Bool("update", false, "write the tables that are generated from the code")

func TestOnlyRunnableBlocksAreFound(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.md")
	page := "# Title\n\n```sh\necho one\n# not a title\n```\ntext with ```sh in it\n```console\n$ not run\n```\n````md\n```sh\ninner\n```\n````\n- item\n\n  ```sh\n  echo two\n  ```\n"
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := docs.Blocks(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"echo one\n# not a title\n", "  echo two\n"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestABlockThatIsNotClosedIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("a\n\n```sh\necho\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Blocks(file); err == nil || !strings.HasSuffix(err.Error(), "page.md:3: the block is not closed") {
		t.Error(err)
	}
	if _, err := docs.Blocks(file + ".none"); err == nil {
		t.Error("a file that does not exist has blocks")
	}
}

func TestTheDocumentationsBlocksAreClosed(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		if _, err := docs.Blocks(page); err != nil {
			t.Error(err)
		}
	}
}

// TestLinksHaveTargets checks the relative links of all pages.
func TestLinksHaveTargets(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/decisions/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, rest := range strings.Split(string(raw), "](")[1:] {
			link, _, _ := strings.Cut(rest, ")")
			link, _, _ = strings.Cut(link, "#")
			if link == "" || strings.Contains(link, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link)); err != nil {
				t.Errorf("%s: link to %s: %v", page, link, err)
			}
		}
	}
}

// Pages name tests as evidence, so these tests must exist.
func TestTheTestsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	var exist []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path) //nolint:gosec // a file of the repository
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+|Benchmark\w+)\(`).FindAllStringSubmatch(string(raw), -1) {
			exist = append(exist, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/decisions/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			raw, err := os.ReadFile(page) //nolint:gosec // a file of the repository
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(string(raw), -1) {
				isPrefix := func(test string) bool { return strings.HasPrefix(test, name) } // as in go test -run
				if named++; !slices.ContainsFunc(exist, isPrefix) {
					t.Errorf("%s names %s, which does not exist", page, name)
				}
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d names of tests are found", named)
	}
}

// TestTheTablesMatchTheCode generates the tables of docs/api.md and compares them. The problem
// codes come from the comments in error.go and the statuses in server/problem.go. The roles and
// their operations come from server/access.go, and the tenants' metrics from
// server/metrics/table.go. It also compares the quoted configuration of Prometheus with its file.
func TestTheTablesMatchTheCode(t *testing.T) {
	t.Parallel()
	const file = "../../docs/api.md"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for name, want := range map[string]string{
		"codes": codeTable(t), "access": accessTable(t), "metrics": metricsTable(), "prometheus": quoted(t, "../../deploy/prometheus-tenant.yml"),
	} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok1 := strings.Cut(page, begin)
		got, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("%s has no table between %q and %q", file, begin, end)
		}
		if diff := cmp.Diff(want, got); diff != "" && !*update {
			t.Errorf("the table of %s does not match the code; write it with go test ./test/docs -update:\n%s", name, diff)
		}
		page = before + begin + want + end + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// callers maps the rules of server/access.go to their descriptions in the table, in the table's
// order.
var callers = [][2]string{
	{"public", "everyone, without a token"},
	{"people", "everyone with a token"},
	{"scrapers", "a tenant's viewer, also with a key that is limited to metrics"},
	{"viewers", "a tenant's viewer"},
	{"developers", "a developer also"},
	{"owners", "an owner also"},
	{"operators", "an operator"},
	{"nodeAgents", "a node's agent, by its certificate"},
}

// accessTable lists the operations by access rule, from the map access in server/access.go.
func accessTable(t *testing.T) string {
	t.Helper()
	allowed := map[string][]string{}
	ast.Inspect(parse(t, "../../server/access.go"), func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		operation, ok1 := kv.Key.(*ast.BasicLit)
		rule, ok2 := kv.Value.(*ast.Ident)
		if ok1 && ok2 {
			id, err := strconv.Unquote(operation.Value)
			if err != nil {
				t.Fatal(err)
			}
			allowed[rule.Name] = append(allowed[rule.Name], "`"+strings.ToLower(id[:1])+id[1:]+"`")
		}
		return true
	})
	var b strings.Builder
	b.WriteString("| who | may call |\n|---|---|\n")
	for _, c := range callers {
		fmt.Fprintf(&b, "| %s | %s |\n", c[1], strings.Join(allowed[c[0]], ", "))
		delete(allowed, c[0])
	}
	if len(allowed) > 0 {
		t.Errorf("these rules of server/access.go have no description in callers: %v", allowed)
	}
	return b.String()
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | meaning |\n|---|---|---|\n")
	for _, f := range metrics.Tenant() {
		fmt.Fprintf(&b, "| `%s{%s}` | %s | %s |\n", f.Name, strings.Join(f.AllLabels(), ","), f.Type, f.Help)
	}
	return b.String()
}

// quoted returns a file as a block.
func quoted(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return "```yaml\n" + string(raw) + "```\n"
}

func codeTable(t *testing.T) string {
	t.Helper()
	statuses := statuses(t)
	var b strings.Builder
	b.WriteString("| code | status | meaning |\n|---|---|---|\n")
	ast.Inspect(parse(t, "../../error.go"), func(n ast.Node) bool {
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
		name := spec.Names[0].Name
		if statuses[name] == 0 {
			t.Errorf("%s has no status in server/problem.go", name)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", code, statuses[name], strings.TrimSpace(spec.Comment.Text()))
		return true
	})
	return b.String()
}

// statuses reads the map statusOf in server/problem.go. The keys are names of codes.
func statuses(t *testing.T) map[string]int {
	t.Helper()
	numbers := map[string]int{}
	for n := 100; n < 600; n++ {
		if text := http.StatusText(n); text != "" {
			numbers["Status"+strings.NewReplacer(" ", "", "-", "").Replace(text)] = n
		}
	}
	found := map[string]int{}
	ast.Inspect(parse(t, "../../server/problem.go"), func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		code, ok1 := kv.Key.(*ast.SelectorExpr)
		status, ok2 := kv.Value.(*ast.SelectorExpr)
		if ok1 && ok2 && strings.HasPrefix(code.Sel.Name, "Code") {
			found[code.Sel.Name] = numbers[status.Sel.Name]
		}
		return true
	})
	return found
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConsoleReturnsWhatIsTyped(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.md")
	page := "# Title\n\n## One\n```console\n$ a \\\n    b\nwhat it prints\n# c\n```\n```sh\nnot this\n```\n### Two\n```console\nkey = HOST\n```\n"
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := docs.Console(file, strings.NewReplacer("HOST", "here"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"One": {"a \\\n    b\nc\n"}, "Two": {"key = here\n"}}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := docs.Console(file+".none", strings.NewReplacer()); err == nil {
		t.Error("a file that does not exist has commands")
	}
}
