// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"husk"
)

// codes reads a list of problem codes from the contract.
func codes(t *testing.T, where string, extensions map[string]any, name string) []string {
	t.Helper()
	list, ok := extensions[name].([]any)
	if !ok {
		t.Errorf("%s has no %s", where, name)
	}
	var all []string
	for _, code := range list {
		all = append(all, code.(string)) //nolint:forcetypeassert // the contract's linter checks that they are strings
	}
	return all
}

// The server's tests compare its responses with these lists. This test compares the lists with the codes that exist, and with the codes that
// the parameters and the body of each operation require.
func TestProblemCodesMatchTheOperations(t *testing.T) {
	t.Parallel()
	s := spec(t)
	common := codes(t, "the contract", s.Extensions, "x-common-problem-codes")
	seen := map[string]bool{}
	for _, code := range common {
		seen[code] = true
	}
	for _, op := range operations(s) {
		own := codes(t, op.where, op.Extensions, "x-problem-codes")
		for _, code := range own {
			seen[code] = true
			if slices.Contains(common, code) {
				t.Errorf("%s lists %s, which every operation may respond with", op.where, code)
			}
		}
		must := map[husk.Code]bool{
			husk.CodeIdempotencyMismatch: hasParameter(op, "header", "Idempotency-Key"),
			husk.CodePreconditionFailed:  hasParameter(op, "header", "If-Match"),
			husk.CodeUnknownField:        op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil,
			husk.CodeReadOnlyField:       op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil,
		}
		for code, is := range must {
			if is != slices.Contains(own, string(code)) {
				t.Errorf("%s: %s is listed: %t; required by its parameters and body: %t", op.where, code, !is, is)
			}
		}
		// A PUT creates an object that does not exist.
		if hasParameter(op, "path", "") && !strings.HasPrefix(op.where, "PUT ") && !slices.Contains(own, string(husk.CodeNotFound)) {
			t.Errorf("%s has an ID in its path but does not list %s", op.where, husk.CodeNotFound)
		}
	}
	if diff := cmp.Diff(codesOfErrorGo(t), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("the codes of error.go and those of the contract (-error.go +contract):\n%s", diff)
	}
}

// codesOfErrorGo reads the constants of type Code, sorted.
func codesOfErrorGo(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value) //nolint:forcetypeassert // the constant is a string
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, code)
		return true
	})
	slices.Sort(all)
	return all
}

func hasParameter(op operation, in, name string) bool {
	return slices.ContainsFunc(slices.Concat(op.Parameters, op.path.Parameters), func(p *openapi3.ParameterRef) bool {
		return p.Value.In == in && (p.Value.Name == name || name == "")
	})
}
