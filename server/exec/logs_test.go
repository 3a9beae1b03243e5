// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"testing"

	"husk"
)

func TestContainerOfLogs(t *testing.T) {
	t.Parallel()
	name := func(s string) *string { return &s }
	one := husk.Pod{Spec: husk.PodSpec{Containers: []husk.Container{{Name: "a"}}}}
	two := husk.Pod{Spec: husk.PodSpec{Containers: []husk.Container{{Name: "a"}, {Name: "b"}}}}
	for _, c := range []struct {
		pod       husk.Pod
		requested *string
		want      string
	}{{one, nil, "a"}, {one, name("a"), "a"}, {one, name("x"), ""}, {two, nil, ""}, {two, name("b"), "b"}} {
		got, err := chooseContainer(c.pod, c.requested)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && husk.CodeOf(err) != husk.CodeInvalid {
			t.Errorf("%d containers, asked for %v: %q, %v", len(c.pod.Spec.Containers), c.requested, got, err)
		}
	}
}
