// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

func TestGeneratedCodeIsUpToDate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inputs, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range inputs {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Run the commands in doc.go in another directory, with the tool of go.mod.
	out, err := exec.CommandContext(t.Context(), "go", "tool", "-n", "oapi-codegen").Output()
	if err != nil {
		t.Fatalf("go tool: %v", err)
	}
	tool := strings.TrimSpace(string(out))
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "agentclient"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(doc)) {
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:generate go tool oapi-codegen ")
		if !ok {
			continue
		}
		n++
		cmd := exec.CommandContext(t.Context(), tool, strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("oapi-codegen %s: %v\n%s", args, err, out)
		}
	}
	generated, err := filepath.Glob(filepath.Join(dir, "*.gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(dir, "*", "*.gen.go"))
	generated = append(generated, below...)
	if err != nil || len(generated) != n || n == 0 {
		t.Fatalf("%d commands generated %d files: %v", n, len(generated), err)
	}
	for _, path := range generated {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(got) {
			t.Errorf("%s does not match openapi.yaml: run make generate", name)
		}
	}
}

// spec returns the contract in openapi.yaml. The embedded contract has no examples, because they
// would be in the comments of the Go code.
func spec(t *testing.T) *openapi3.T {
	t.Helper()
	s, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContractIsValid(t *testing.T) {
	t.Parallel()
	s := spec(t)
	if err := s.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

type operation struct {
	where string
	*openapi3.Operation
	path *openapi3.PathItem
}

func operations(s *openapi3.T) []operation {
	var all []operation
	for path, item := range s.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{fmt.Sprint(method, " ", path), op, item})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.where, b.where) })
	return all
}

func TestEveryOperationIsComplete(t *testing.T) {
	t.Parallel()
	s := spec(t)
	seen := map[string]string{}
	tags := map[string]bool{}
	for _, tag := range s.Tags {
		tags[tag.Name] = true
	}
	for _, op := range operations(s) {
		if op.OperationID == "" || op.Summary == "" || strings.HasSuffix(op.Summary, ".") {
			t.Errorf("%s needs an operationId and a summary without a full stop", op.where)
		}
		if seen[op.OperationID] != "" {
			t.Errorf("%s and %s are both %s", op.where, seen[op.OperationID], op.OperationID)
		}
		seen[op.OperationID] = op.where
		if len(op.Tags) != 1 || !tags[op.Tags[0]] {
			t.Errorf("%s needs one of the tags that have a description", op.where)
		}
		problem := op.Responses.Default()
		if problem == nil || problem.Value.Content["application/problem+json"] == nil {
			t.Errorf("%s does not say that its errors are problems", op.where)
		}
	}
}

// A client that sends an unknown field has made a mistake, which must not be ignored. Only agents may send more than the server knows,
// because they may be newer.
func TestEveryObjectRefusesUnknownFields(t *testing.T) {
	t.Parallel()
	s := spec(t)
	ofAgents := map[*openapi3.Schema]bool{}
	for _, op := range operations(s) {
		if body := op.RequestBody; body != nil && strings.Contains(op.where, " /v1/agent/") {
			collect(body.Value.Content.Get("application/json").Schema.Value, ofAgents)
		}
	}
	for name, schema := range s.Components.Schemas {
		v := schema.Value
		if !v.Type.Is("object") || v.AdditionalProperties.Schema != nil {
			continue
		}
		if open := v.AdditionalProperties.Has == nil || *v.AdditionalProperties.Has; open != ofAgents[v] {
			t.Errorf("%s: accepts unknown fields: %v; is part of a request of agents: %v", name, open, ofAgents[v])
		}
	}
	if len(ofAgents) < 10 {
		t.Errorf("only %d schemas were found in requests of agents", len(ofAgents))
	}
}

// collect adds a schema and all schemas in it.
func collect(s *openapi3.Schema, all map[*openapi3.Schema]bool) {
	if all[s] {
		return
	}
	all[s] = true
	for _, p := range s.Properties {
		collect(p.Value, all)
	}
	if s.Items != nil {
		collect(s.Items.Value, all)
	}
	for _, p := range slices.Concat(s.AllOf, s.AnyOf, s.OneOf) {
		collect(p.Value, all)
	}
}

// Everything that a caller can send has a limit, so that one request cannot fill the memory or the database.
func TestEveryStringAndListInARequestHasALimit(t *testing.T) {
	t.Parallel()
	var unbounded []string
	seen := map[*openapi3.Schema]bool{}
	var walk func(at string, ref *openapi3.SchemaRef)
	walk = func(at string, ref *openapi3.SchemaRef) {
		if ref == nil || seen[ref.Value] {
			return
		}
		v := ref.Value
		seen[v] = true
		switch {
		case v.Type.Is("string") && v.MaxLength == nil && v.Format == "" && v.Enum == nil && v.Pattern == "":
			unbounded = append(unbounded, at)
		case v.Type.Is("array") && v.MaxItems == nil:
			unbounded = append(unbounded, at)
		}
		walk(at+"[]", v.Items)
		walk(at+".*", v.AdditionalProperties.Schema)
		for name, p := range v.Properties {
			walk(at+"."+name, p)
		}
	}
	for _, op := range operations(spec(t)) {
		for _, p := range slices.Concat(op.Parameters, op.path.Parameters) {
			walk(op.OperationID+" "+p.Value.Name, p.Value.Schema)
		}
		if op.RequestBody != nil {
			for _, media := range op.RequestBody.Value.Content {
				walk(op.OperationID, media.Schema)
			}
		}
	}
	slices.Sort(unbounded)
	want := []string{
		"getPodLogs Accept",     // a header, which net/http bounds
		"issueToken.grant_type", // only compared, never stored
	}
	if diff := cmp.Diff(want, unbounded); diff != "" {
		t.Errorf("without a limit (-known +got):\n%s", diff)
	}
}
