// SPDX-License-Identifier: Apache-2.0

package ingresses

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/openapi"
)

func TestRulesWithTheSameHostBecomeOne(t *testing.T) {
	t.Parallel()
	got, err := Rules([]string{"a.example.com=web:80", "b.example.com/=web:80", "a.example.com/api/v1=api:8080"})
	want := openapi.IngressRules{
		{Host: "a.example.com", Paths: []openapi.IngressPath{{Service: "web", Port: 80}, {Path: new("/api/v1"), Service: "api", Port: 8080}}},
		{Host: "b.example.com", Paths: []openapi.IngressPath{{Service: "web", Port: 80}}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, text := range []string{"", "a.example.com", "a.example.com=web", "a.example.com=web:http", "=web:80", "a=:80"} {
		if _, err := Rules([]string{text}); err == nil {
			t.Errorf("the rule %q is accepted", text)
		}
	}
}
