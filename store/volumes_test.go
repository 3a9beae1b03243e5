// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"slices"
	"testing"

	"husk"
	"husk/store"
	"husk/store/disks"
)

// The requested size counts at once, and the node learns of it when the RBD image has it.
func TestAVolumeGrows(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	as, volume := h.as(tenant.ID), h.volume(tenant)
	pod := h.createPod(tenant, specOf(h.image(tenant), volume))
	h.place(node.ID, pod)
	work := func(what string, want ...string) {
		t.Helper()
		if got := queryOne[[]string](h, store.RoleControl, "SELECT COALESCE(array_agg(kind ORDER BY kind), '{}') FROM work"); !slices.Equal(got, want) {
			t.Errorf("%s, the work is %v, want %v", what, got, want)
		}
	}
	before := queryOne[int64](h, store.RoleControl, "SELECT desired_revision FROM nodes")
	for range 2 { // repeated
		grown, err := as.GrowVolume(t.Context(), volume.ID, 3)
		if must(t, grown, err); grown.SizeGiB != 3 || grown.State != husk.VolumeInUse {
			t.Errorf("the volume is %+v", grown)
		}
	}
	work("after the request", "volume-growth")
	_, err := as.GrowVolume(t.Context(), volume.ID, 2)
	wantCode(t, err, husk.CodeInvalid)
	quota, err := as.Quota(t.Context())
	if must(t, quota, err); quota.Used.VolumeGiB != 3 {
		t.Errorf("%d GiB are used", quota.Used.VolumeGiB)
	}
	if sizes := queryOne[[]int](h, store.RoleControl, "SELECT array_agg(i.size_gib) FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id"); !slices.Equal(sizes, []int{3}) {
		t.Errorf("the open usage intervals have the sizes %v", sizes)
	}
	if ended := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM usage_ends"); ended != 1 {
		t.Errorf("%d usage intervals have ended", ended)
	}

	w := h.claim(store.VolumeGrowth, 2)
	if len(w) != 1 {
		t.Fatalf("the claimed work is %+v", w)
	}
	wanted, disk, err := h.VolumeDisk(t.Context(), w[0])
	if must(t, disk, err); wanted.SizeGiB != 3 || disk.SizeGiB != 1 || disk.RBDID != "def" {
		t.Errorf("the disk to grow to %d is %+v", wanted.SizeGiB, disk)
	}
	if diskOf(t, h, node, pod).SizeGiB != 0 {
		t.Error("the node knows the new size before the RBD image has it")
	}
	disk.Header = map[string][]byte{"size": {3}}
	for range 2 {
		if err := h.Copies().Grown(t.Context(), tenant.ID, volume.ID, 3, disk); err != nil {
			t.Fatal(err)
		}
	}
	work("after the growth")
	if got := diskOf(t, h, node, pod).SizeGiB; got != 3 {
		t.Errorf("the node is told %d GiB", got)
	}
	if after := queryOne[int64](h, store.RoleControl, "SELECT desired_revision FROM nodes"); after <= before {
		t.Error("the node is not told that its desired state has changed")
	}
	got, _, err := h.PodToKey(t.Context(), store.Work{TenantID: tenant.ID, ObjectID: pod.ID})
	if must(t, got, err); len(got) != 2 || got[1].Header["size"][0] != 3 {
		t.Errorf("the next key is created with the disks %+v", got)
	}
}

// diskOf returns the size of the pod's only volume as its node knows it; 0 if that is 1 GiB.
func diskOf(t *testing.T, h fixture, node husk.Node, pod husk.Pod) (d husk.DesiredDisk) {
	t.Helper()
	state, err := h.Desired(t.Context(), node.ID, nil)
	if must(t, state, err); len(state.Changes) != 1 || state.Changes[0].PodID != pod.ID {
		t.Fatalf("the desired state is %+v", state)
	}
	for _, v := range state.Changes[0].Pod.Volumes {
		if v.GiB != 1 {
			d.SizeGiB = v.GiB
		}
	}
	return d
}

// Requests at the same time cannot exceed the quota together.
func TestGrowthIsLimitedByTheQuota(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	var volumes []husk.Volume
	for range 4 {
		volumes = append(volumes, h.volume(tenant))
	}
	quota, err := h.as(tenant.ID).Quota(t.Context())
	must(t, quota, err)
	size := quota.Limits.VolumeGiB / 2
	succeeded := 0
	for _, err := range concurrently(len(volumes), func(i int) error {
		_, err := h.as(tenant.ID).GrowVolume(t.Context(), volumes[i].ID, size-1)
		return err
	}) {
		if err == nil {
			succeeded++
			continue
		}
		wantCode(t, err, husk.CodeQuotaExceeded)
	}
	if now, err := h.as(tenant.ID).Quota(t.Context()); err != nil || now.Used.VolumeGiB > int64(quota.Limits.VolumeGiB) || succeeded != 2 {
		t.Errorf("%d of %d requests have succeeded, and %d of %d GiB are used: %v", succeeded, len(volumes), now.Used.VolumeGiB, quota.Limits.VolumeGiB, err)
	}
}

// A volume that does not exist yet, or not any more, does not grow.
func TestOnlyAnAvailableVolumeGrows(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, other := h.tenant(), h.tenant()
	creating, gone := h.requestVolume(tenant), h.volume(tenant)
	_, err := h.as(tenant.ID).GrowVolume(t.Context(), creating.ID, 2)
	wantCode(t, err, husk.CodeConflict)
	deleting, err := h.as(tenant.ID).DeleteVolume(t.Context(), gone.ID)
	must(t, deleting, err)
	_, err = h.as(tenant.ID).GrowVolume(t.Context(), gone.ID, 2)
	wantCode(t, err, husk.CodeConflict)
	_, err = h.as(other.ID).GrowVolume(t.Context(), gone.ID, 2)
	wantCode(t, err, husk.CodeNotFound)
	wantCode(t, h.Copies().Grown(t.Context(), tenant.ID, gone.ID, 2, disks.Disk{RBDID: "def"}), husk.CodeNotFound)
}

// A snapshot goes from the request to its removal, and protects what it needs and what needs it.
func TestASnapshotAndItsClones(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, volume := h.as(tenant.ID), h.volume(tenant)
	create := func(name string) (husk.Snapshot, error) {
		return as.CreateSnapshot(t.Context(), once(), husk.Snapshot{Name: name, Labels: map[string]string{}, VolumeID: volume.ID})
	}
	s, err := create("first")
	must(t, s, err)
	_, err = create("second") // only one at a time
	wantCode(t, err, husk.CodeConflict)
	_, err = as.DeleteVolume(t.Context(), volume.ID)
	wantCode(t, err, husk.CodeConflict)
	source := &husk.VolumeSource{SnapshotID: s.ID}
	_, err = as.AddVolume(t.Context(), once(), husk.Volume{Name: "early", SizeGiB: 1, Source: source})
	wantCode(t, err, husk.CodeConflict)

	if w := h.claim(store.SnapshotCopy, 2); len(w) != 1 || w[0].ObjectID != s.ID {
		t.Fatalf("the work is %+v", w)
	}
	c := h.Copies()
	for range 2 { // interrupted
		if err := c.Numbered(t.Context(), tenant.ID, s.ID, 7); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Snapshot(t.Context(), tenant.ID, s.ID); err != nil || got.Number != 7 || got.Taken || got.Volume.RBDID != "def" || got.Volume.SizeGiB != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, err := range []error{c.Taken(t.Context(), tenant.ID, s.ID), c.Progress(t.Context(), tenant.ID, s.ID, 50)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if now, err := as.Snapshot(t.Context(), s.ID); err != nil || now.TakenAt == nil || now.ProgressPercent != 50 || now.State != husk.SnapshotCreating {
		t.Errorf("the snapshot is %+v, %v", now, err)
	}
	if err := c.Made(t.Context(), tenant.ID, s.ID, "snapid"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.Made(t.Context(), tenant.ID, s.ID, "snapid"), husk.CodeConflict)

	clone, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: "clone", Labels: map[string]string{}, SizeGiB: 2, Source: source})
	if must(t, clone, err); clone.Source == nil || clone.Source.SnapshotID != s.ID {
		t.Errorf("the clone is %+v", clone)
	}
	w := h.claim(store.VolumeClone, 2)
	if len(w) != 1 {
		t.Fatalf("the work is %+v", w)
	}
	if got := h.claim(store.VolumeCreation, 2); len(got) != 0 {
		t.Errorf("a server of the previous version would create an empty volume: %+v", got)
	}
	if v, d, err := h.VolumeDisk(t.Context(), w[0]); err != nil || v.SizeGiB != 2 || d.Parent.RBDID != "snapid" || d.Parent.Name != s.RBDName() {
		t.Errorf("%+v, %+v, %v", v, d, err)
	}
	if err := h.VolumeMade(t.Context(), clone, "cloneid", nil); err != nil {
		t.Fatal(err)
	}
	_, err = as.DeleteSnapshot(t.Context(), s.ID)
	wantCode(t, err, husk.CodeSnapshotInUse)

	idem := once()
	for range 2 { // a repetition does nothing, also after the restore
		restored, err := as.RestoreVolume(t.Context(), idem, volume.ID, s.ID)
		must(t, restored, err)
		if err := h.VolumeMade(t.Context(), volume, "restored", nil); err != nil {
			t.Fatal(err)
		}
	}
	if made := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM events WHERE reason = 'RestoreRequested'"); made != 1 {
		t.Errorf("%d restores were requested", made)
	}
	quota, err := as.Quota(t.Context())
	if must(t, quota, err); quota.Used.VolumeGiB != 4 || quota.Used.Snapshots != 1 {
		t.Errorf("the quota is %+v", quota)
	}
	if kinds := queryOne[[]string](h, store.RoleControl, "SELECT array_agg(i.kind || i.size_gib ORDER BY i.kind, i.size_gib) FROM usage_open o JOIN usage_intervals i ON i.id = o.interval_id"); !slices.Equal(kinds, []string{"snapshot1", "volume1", "volume2"}) {
		t.Errorf("the open usage intervals are %v", kinds)
	}
	for _, v := range []husk.Volume{clone, volume} {
		gone, err := as.DeleteVolume(t.Context(), v.ID)
		must(t, gone, err)
		if err := h.VolumeRemoved(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := as.DeleteSnapshot(t.Context(), s.ID)
	must(t, gone, err)
	for range 2 {
		if err := c.Removed(t.Context(), tenant.ID, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if left := queryOne[int](h, store.RoleControl, "SELECT (SELECT count(*) FROM snapshots) + (SELECT count(*) FROM usage_open) + (SELECT count(*) FROM work WHERE kind LIKE 'snapshot%')"); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

func TestSnapshotsAreLimitedByTheQuota(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenantWith(husk.Quota{Volumes: 10, VolumeGiB: 5, Snapshots: 1})
	var volumes []husk.Volume
	for range 3 {
		volumes = append(volumes, h.volume(tenant))
	}
	succeeded := 0
	for _, err := range concurrently(len(volumes), func(i int) error {
		_, err := h.as(tenant.ID).CreateSnapshot(t.Context(), once(), husk.Snapshot{Name: named("s"), Labels: map[string]string{}, VolumeID: volumes[i].ID})
		return err
	}) {
		if err == nil {
			succeeded++
			continue
		}
		wantCode(t, err, husk.CodeQuotaExceeded)
	}
	if succeeded != 1 {
		t.Errorf("%d snapshots were created", succeeded)
	}
	_, err := h.as(tenant.ID).GrowVolume(t.Context(), volumes[0].ID, 3)
	wantCode(t, err, husk.CodeQuotaExceeded) // 3 GiB of volumes and 1 GiB of a snapshot
}
