// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// readySnapshot returns a snapshot that is Ready.
func (h fixture) readySnapshot(tenant husk.Tenant) husk.Snapshot {
	h.t.Helper()
	s, err := h.as(tenant.ID).CreateSnapshot(h.t.Context(), once(), husk.Snapshot{Name: named("snapshot"), Labels: map[string]string{}, VolumeID: h.volume(tenant).ID})
	must(h.t, s, err)
	if err := h.Copies().Made(h.t.Context(), tenant.ID, s.ID, "snap"); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// Two servers make a snapshot, because the first one hung. What is recorded is not removed.
func TestASnapshotIsMadeOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	s := h.readySnapshot(tenant)
	wantCode(t, h.Copies().Made(t.Context(), tenant.ID, s.ID, "late"), husk.CodeConflict)
	if _, err := h.as(tenant.ID).DeleteSnapshot(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.Copies().Made(t.Context(), tenant.ID, s.ID, "late"), husk.CodeNotFound)
}

func TestManyPodsAttachASnapshotThatStaysMeanwhile(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(3)
	as, s := h.as(tenant.ID), h.readySnapshot(tenant)
	spec := specOf(h.image(tenant))
	spec.Volumes = []husk.PodVolume{{Name: "old", SnapshotID: s.ID}}
	pods := []husk.Pod{h.createPod(tenant, spec), h.createPod(tenant, spec)}
	h.place(node.ID, pods...)

	all, _, err := h.PodToKey(t.Context(), store.Work{TenantID: tenant.ID, ObjectID: pods[0].ID})
	if must(t, all, err); len(all) != 2 || !all[1].ReadOnly || all[1].RBDID != "" || all[1].Parent.RBDID != "snap" || all[1].SnapshotID != s.ID {
		t.Errorf("the key of a pod is created with the disks %+v", all)
	}
	if err := h.Copies().ViewMade(t.Context(), tenant.ID, s.ID, "view", map[string][]byte{"size": {1}}); err != nil {
		t.Fatal(err)
	}
	all, _, err = h.PodToKey(t.Context(), store.Work{TenantID: tenant.ID, ObjectID: pods[1].ID})
	if must(t, all, err); all[1].RBDID != "view" || all[1].Header["size"][0] != 1 {
		t.Errorf("the next key is created with the disks %+v", all)
	}
	state, err := h.Desired(t.Context(), node.ID, nil)
	if must(t, state, err); len(state.Changes) != 2 || state.Changes[0].Pod.Snapshots[s.ID].FSType != husk.FSExt4 {
		t.Errorf("the node is told %+v", state.Changes)
	}
	if volumes, _, err := h.Copies().Names(t.Context()); err != nil || !volumes[s.ViewName()] {
		t.Errorf("the view has no owner: %v", err)
	}

	for i, pod := range pods {
		_, err := as.DeleteSnapshot(t.Context(), s.ID)
		if wantCode(t, err, husk.CodeSnapshotInUse); !strings.Contains(err.Error(), pod.Name) {
			t.Errorf("with %d pods, the error is %q", len(pods)-i, err)
		}
		if _, err := as.DeletePod(t.Context(), pod.ID); err != nil {
			t.Fatal(err)
		}
		h.report(node.ID, pod, husk.EventGone)
	}
	if _, err := as.DeleteSnapshot(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
	wantCode(t, h.Copies().ViewMade(t.Context(), tenant.ID, s.ID, "late", nil), husk.CodeNotFound)
	for _, id := range []uuid.UUID{s.ID, uuid.New()} {
		spec.Volumes[0].SnapshotID = id
		if _, err := as.CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, spec); husk.CodeOf(err) != husk.CodeConflict && husk.CodeOf(err) != husk.CodeNotFound {
			t.Errorf("a pod with a snapshot that cannot be attached: %v", err)
		}
	}
	if err := h.Copies().Removed(t.Context(), tenant.ID, s.ID); err != nil {
		t.Fatal(err)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM removed_objects WHERE name IN ('"+s.ViewName()+"', '"+s.RBDName()+"')"); n != 2 {
		t.Errorf("%d of the names of the snapshot and its view are remembered", n)
	}
}

func TestAVolumeThatIsFlattenedShowsItsProgress(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, s := h.as(tenant.ID), h.readySnapshot(tenant)
	for _, flatten := range []bool{false, true} {
		v, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, Source: &husk.VolumeSource{SnapshotID: s.ID}, Flatten: flatten})
		must(t, v, err)
		if err := h.Copies().VolumeProgress(t.Context(), tenant.ID, v.ID, 40); err != nil {
			t.Fatal(err)
		}
		v, err = as.Volume(t.Context(), v.ID)
		if must(t, v, err); (v.ProgressPercent != nil) != flatten || flatten && *v.ProgressPercent != 40 {
			t.Errorf("with flatten %v, the volume is %+v", flatten, v)
		}
		if err := h.VolumeMade(t.Context(), v, "def", nil); err != nil {
			t.Fatal(err)
		}
		v, err = as.Volume(t.Context(), v.ID)
		if must(t, v, err); v.ProgressPercent != nil {
			t.Errorf("a volume that is available shows progress: %+v", v)
		}
	}
}

func TestACopyLearnsThatItsObjectIsDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, s, c := h.as(tenant.ID), h.readySnapshot(tenant), h.Copies()
	v, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, Source: &husk.VolumeSource{SnapshotID: s.ID}, Flatten: true})
	must(t, v, err)
	if w := h.claim(store.VolumeFlatten, 1); len(w) != 1 || w[0].ObjectID != v.ID {
		t.Errorf("the work is %+v", w)
	}
	if w := h.claim(store.VolumeClone, 1); len(w) != 0 {
		t.Errorf("other clones wait for the copy: %+v", w)
	}
	if _, err := as.DeleteVolume(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.VolumeProgress(t.Context(), tenant.ID, v.ID, 50), husk.CodeNotFound)
	if err := h.VolumeRemoved(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.VolumeProgress(t.Context(), tenant.ID, v.ID, 60), husk.CodeNotFound)

	if err := c.Progress(t.Context(), tenant.ID, s.ID, 50); err != nil {
		t.Errorf("the late progress of a snapshot that is ready: %v", err)
	}
	if _, err := as.DeleteSnapshot(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.Progress(t.Context(), tenant.ID, s.ID, 50), husk.CodeNotFound)
	if err := c.Removed(t.Context(), tenant.ID, s.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.Progress(t.Context(), tenant.ID, s.ID, 60), husk.CodeNotFound)
}
