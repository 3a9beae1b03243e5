// SPDX-License-Identifier: Apache-2.0

package operations

import (
	"testing"
	"time"

	"husk/openapi"
)

func TestStatesOfObjectsAreOperations(t *testing.T) {
	t.Parallel()
	now := time.Now()
	pod := func(p openapi.PodPhase, deleted *time.Time) openapi.Pod {
		return openapi.Pod{Name: "web", DeletionRequestedAt: deleted, Status: openapi.PodStatus{Phase: p}}
	}
	type got struct {
		operation  string
		cancelable bool
	}
	as := func(o Operation, busy bool) got {
		if !busy {
			return got{}
		}
		return got{o.Operation, o.Cancelable}
	}
	pods, volumes, snapshots := ofPod(nil), ofVolume(nil), ofSnapshot(nil)
	for name, c := range map[string]struct{ got, want got }{
		"pending pod":       {as(pods(pod(openapi.PodPhasePending, nil))), got{starting, true}},
		"running pod":       {as(pods(pod(openapi.PodPhaseRunning, nil))), got{}},
		"stopping pod":      {as(pods(pod(openapi.PodPhaseStopping, nil))), got{stopping, false}},
		"deleted pod":       {as(pods(pod(openapi.PodPhaseRunning, &now))), got{deleting, false}},
		"new volume":        {as(volumes(openapi.Volume{State: openapi.VolumeStateCreating})), got{creating, true}},
		"copied volume":     {as(volumes(openapi.Volume{State: openapi.VolumeStateCreating, ProgressPercent: new(7)})), got{copying, true}},
		"volume in use":     {as(volumes(openapi.Volume{State: openapi.VolumeStateInUse})), got{}},
		"deleted volume":    {as(volumes(openapi.Volume{State: openapi.VolumeStateDeleting})), got{deleting, false}},
		"new snapshot":      {as(snapshots(openapi.Snapshot{State: openapi.SnapshotStateCreating})), got{copying, true}},
		"complete snapshot": {as(snapshots(openapi.Snapshot{State: openapi.SnapshotStateReady})), got{}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
}
