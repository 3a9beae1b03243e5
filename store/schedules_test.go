// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"husk"
	"husk/store"
)

// snapshotsOf returns the snapshots of a volume that are not being deleted, oldest first.
func (h fixture) snapshotsOf(volume husk.Volume) []husk.Snapshot {
	h.t.Helper()
	all, _, err := h.as(volume.TenantID).Snapshots(h.t.Context(), store.Page{Limit: 100}, store.Filter{})
	return slices.DeleteFunc(must(h.t, all, err), func(s husk.Snapshot) bool { return s.VolumeID != volume.ID || s.State == husk.SnapshotDeleting })
}

// runSchedules makes a volume's schedule due, as if its runs of the last while had been missed, and runs it.
func (h fixture) runSchedules(volume husk.Volume, missed time.Duration) (taken bool) {
	h.t.Helper()
	h.exec(fmt.Sprintf("UPDATE volumes SET snapshot_next = clock_timestamp() - make_interval(secs => %f) WHERE id = '%s'", missed.Seconds(), volume.ID))
	due, err := h.Copies().Due(h.t.Context(), 10)
	if must(h.t, due, err); len(due) != 1 || due[0].ID != volume.ID {
		h.t.Fatalf("due are %+v", due)
	}
	taken, err = h.Copies().TakeScheduled(h.t.Context(), h.epoch(), due[0].TenantID, due[0].ID)
	return must(h.t, taken, err)
}

// ready completes the snapshots of a volume that are being made.
func (h fixture) ready(volume husk.Volume) {
	h.t.Helper()
	for _, s := range h.snapshotsOf(volume) {
		if s.State != husk.SnapshotCreating {
			continue
		}
		if err := h.Copies().Taken(h.t.Context(), volume.TenantID, s.ID); err != nil {
			h.t.Fatal(err)
		}
		if err := h.Copies().Made(h.t.Context(), volume.TenantID, s.ID, "rbd"); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestAScheduleTakesSnapshotsAndKeepsTheLatest(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, volume := h.as(tenant.ID), h.volume(tenant)
	before := time.Now()
	changed, err := as.UpdateVolume(t.Context(), volume.ID, nil, &husk.SnapshotSchedule{EveryMinutes: 60, Keep: 2}, nil)
	if must(t, changed, err); changed.NextAt == nil || changed.NextAt.Before(before.Add(59*time.Minute)) || *changed.Schedule != (husk.SnapshotSchedule{EveryMinutes: 60, Keep: 2}) {
		t.Fatalf("the volume is %+v", changed)
	}
	if due, err := h.Copies().Due(t.Context(), 10); err != nil || len(due) > 0 {
		t.Fatalf("due at once: %+v, %v", due, err)
	}
	mine, err := as.CreateSnapshot(t.Context(), once(), husk.Snapshot{Name: "mine", Labels: map[string]string{}, VolumeID: volume.ID})
	must(t, mine, err)

	if h.runSchedules(volume, time.Second) { // the other one is being copied
		t.Error("a second snapshot is made at the same time")
	}
	h.ready(volume)
	if !h.runSchedules(volume, 100*time.Hour) {
		t.Fatal("no snapshot")
	}
	now, err := as.Volume(t.Context(), volume.ID)
	if must(t, now, err); now.NextAt.Before(time.Now()) || now.NextAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("after missed runs, the next one is at %s", now.NextAt)
	}
	if due, err := h.Copies().Due(t.Context(), 10); err != nil || len(due) > 0 {
		t.Errorf("missed runs are made up for: %+v, %v", due, err)
	}
	h.ready(volume)
	first := h.snapshotsOf(volume)[1]
	if !first.Scheduled || mine.Scheduled {
		t.Errorf("the snapshots are %+v", h.snapshotsOf(volume))
	}
	// A volume shares the data of the first, so it stays, in addition to those that are kept.
	clone, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: "clone", Labels: map[string]string{}, SizeGiB: 1, Source: &husk.VolumeSource{SnapshotID: first.ID}})
	must(t, clone, err)
	for n := range 3 {
		h.exec(fmt.Sprintf("UPDATE snapshots SET name = name || '-%d' WHERE scheduled", n)) // a name has the second
		if !h.runSchedules(volume, time.Second) {
			t.Fatal("no snapshot")
		}
		h.ready(volume)
	}
	if got := h.snapshotsOf(volume); len(got) != 4 || got[0].ID != mine.ID || got[1].ID != first.ID {
		t.Errorf("the snapshots are %+v", got)
	}
	// One that failed does not count, and is removed by the next run.
	h.exec("UPDATE snapshots SET name = name || '-x' WHERE scheduled")
	h.runSchedules(volume, time.Second)
	h.exec("UPDATE snapshots SET state = 'Failed' WHERE state = 'Creating'")
	h.exec("UPDATE snapshots SET name = name || '-y' WHERE scheduled")
	h.runSchedules(volume, time.Second)
	for _, s := range h.snapshotsOf(volume) {
		if s.State == husk.SnapshotFailed {
			t.Errorf("a failed snapshot stays: %+v", s)
		}
	}
	off, err := as.UpdateVolume(t.Context(), volume.ID, nil, &husk.SnapshotSchedule{}, nil)
	if must(t, off, err); off.Schedule != nil || off.NextAt != nil {
		t.Errorf("the volume is %+v", off)
	}
	h.ready(volume)
	if got := h.snapshotsOf(volume); len(got) != 5 {
		t.Errorf("without a schedule, the snapshots are %+v", got)
	}
}

func TestAScheduleRespectsTheQuota(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Snapshots = 0
	tenant := h.tenantWith(quota)
	volume := h.volume(tenant)
	size := 2
	grown, err := h.as(tenant.ID).UpdateVolume(t.Context(), volume.ID, &size, &husk.SnapshotSchedule{EveryMinutes: 1, Keep: 1}, nil)
	if must(t, grown, err); grown.SizeGiB != 2 || grown.Schedule == nil {
		t.Errorf("the volume is %+v", grown)
	}
	if h.runSchedules(volume, time.Second) {
		t.Error("a snapshot beyond the quota is made")
	}
	events, _, err := h.as(tenant.ID).Events(t.Context(), store.Page{Limit: 100}, store.EventFilter{ObjectID: &volume.ID})
	const why = "the tenant's quota allows 0 snapshots; 0 are in use and 1 more were requested"
	if !slices.ContainsFunc(must(t, events, err), func(e husk.Event) bool { return e.Reason == "SnapshotSkipped" && e.Message == why }) {
		t.Errorf("the events are %+v", events)
	}
	if taken, err := h.Copies().TakeScheduled(t.Context(), h.epoch()-1, tenant.ID, volume.ID); err == nil || taken {
		t.Errorf("an earlier leader takes a snapshot: %t, %v", taken, err)
	}
}
