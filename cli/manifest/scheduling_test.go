// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/openapi"
)

func TestDiffKnowsTheDefaultsOfScheduling(t *testing.T) {
	t.Parallel()
	zero, one, two := 0, 1, 2
	spread := func(skew *int) openapi.PodSpec {
		rules := []openapi.SchedulingRule{{Kind: openapi.Spread, Label: "app", TopologyKey: "zone", MaxSkew: skew}}
		return openapi.PodSpec{Scheduling: &openapi.Scheduling{Rules: &rules}}
	}
	have := openapi.Pod{Spec: spread(&one)}
	want := openapi.PodCreate{Spec: spread(nil)}
	want.Spec.Scheduling.Priority = &zero
	if diff := cmp.Diff([]string(nil), DiffPod(want, have)); diff != "" {
		t.Errorf("a document without the defaults differs from its pod: %s", diff)
	}
	want.Spec = spread(&two)
	if diff := cmp.Diff([]string{"spec.scheduling.rules[0].maxSkew"}, DiffPod(want, have)); diff != "" {
		t.Errorf("another skew: %s", diff)
	}
}
