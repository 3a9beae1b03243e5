// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"husk"
)

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
		exit, ok := ofProblem[husk.Code(code)]
		known := false
		for _, e := range Meanings {
			known = known || e.Code == exit && exit != OK
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
