// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"husk"
)

func TestAPodIsDeletedWhenItsTimeAfterItsEndHasPassed(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	image := h.image(tenant)
	create := func(ttl *int, end husk.PhaseEvent) husk.Pod {
		spec := specOf(image)
		spec.TTLSecondsAfterFinished = ttl
		pod := h.createPod(tenant, spec)
		h.place(node.ID, pod)
		h.report(node.ID, pod, husk.EventRunning)
		if end != "" {
			h.report(node.ID, pod, end)
		}
		return pod
	}
	due := map[string]bool{}
	for _, p := range []husk.Pod{create(new(0), husk.EventFailed), create(new(0), husk.EventSucceeded)} {
		due[p.ID.String()] = true
	}
	create(new(0), "")
	create(nil, husk.EventSucceeded)
	create(new(3600), husk.EventSucceeded)
	if gone, err := h.DeleteFinishedPods(t.Context(), h.epoch()-1); err != nil || len(gone) > 0 {
		t.Errorf("a server that does not lead deletes %v, %v", gone, err)
	}
	for _, want := range []int{2, 0} {
		gone, err := h.DeleteFinishedPods(t.Context(), h.epoch())
		if err != nil || len(gone) != want {
			t.Errorf("deleted %v, %v; want %d", gone, err, want)
		}
		for _, key := range gone {
			pod, err := h.as(tenant.ID).Pod(t.Context(), key.ID)
			if must(t, pod, err); pod.Status.Phase != husk.PhaseStopping || pod.DeletionRequestedAt == nil || !due[key.ID.String()] {
				t.Errorf("the pod is %+v", pod)
			}
		}
	}
}
