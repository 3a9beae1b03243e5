// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/vm"
)

func TestThePlanIsTheDifference(t *testing.T) {
	t.Parallel()
	wanted, dismissed, orphan, leftover := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	pod := husk.DesiredPod{ID: wanted, State: husk.DesiredRunning}
	for _, c := range []struct {
		name    string
		desired []husk.DesiredPod
		workers []uuid.UUID
		domains []uuid.UUID
		dirs    []uuid.UUID
		want    Plan
	}{
		{name: "nothing is desired and nothing exists"},
		{name: "a new pod", desired: []husk.DesiredPod{pod}, want: Plan{Tell: []husk.DesiredPod{pod}}},
		{
			name: "a running machine of a desired pod is adopted and not changed", desired: []husk.DesiredPod{pod}, domains: []uuid.UUID{wanted},
			dirs: []uuid.UUID{wanted}, want: Plan{Tell: []husk.DesiredPod{pod}},
		},
		{name: "a pod that the server no longer lists", workers: []uuid.UUID{dismissed}, want: Plan{Dismiss: []uuid.UUID{dismissed}}},
		{
			name: "machines and directories of no pod", desired: []husk.DesiredPod{pod}, domains: []uuid.UUID{orphan, wanted},
			dirs: []uuid.UUID{leftover, orphan}, want: Plan{Tell: []husk.DesiredPod{pod}, Orphans: []uuid.UUID{orphan, leftover}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			workers := map[uuid.UUID]bool{}
			for _, id := range c.workers {
				workers[id] = true
			}
			domains := []vm.Domain{}
			for _, id := range c.domains {
				domains = append(domains, vm.Domain{PodID: id})
			}
			got := Diff(husk.DesiredState{Pods: c.desired}, workers, domains, c.dirs)
			byID := cmpopts.SortSlices(func(a, b uuid.UUID) bool { return slices.Compare(a[:], b[:]) < 0 })
			if d := cmp.Diff(c.want, got, byID, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}
