// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"slices"
	"testing"
	"time"

	"husk"
	"husk/store"
)

// claim claims work of one kind as the leader.
func (h fixture) claim(kind store.WorkKind, limit int) []store.Work {
	h.t.Helper()
	work, err := h.ClaimWork(h.t.Context(), h.epoch(), store.Claim{Kind: kind, Max: limit, PerTenant: limit, Expires: time.Minute})
	return must(h.t, work, err)
}

// requestVolume requests a volume that is not created yet.
func (h fixture) requestVolume(tenant husk.Tenant) husk.Volume {
	h.t.Helper()
	v, err := h.as(tenant.ID).CreateVolume(h.t.Context(), once(), named("volume"), map[string]string{}, 1)
	return must(h.t, v, err)
}

func podOf(w store.Work) store.PodKey { return store.PodKey{TenantID: w.TenantID, ID: w.ObjectID} }

func TestWorkFollowsTheStateOfItsObject(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as := h.as(tenant.ID)
	kinds := func(what string, want ...string) {
		t.Helper()
		if got := queryOne[[]string](h, store.RoleControl, "SELECT COALESCE(array_agg(kind ORDER BY kind), '{}') FROM work"); !slices.Equal(got, want) {
			t.Errorf("%s, the work is %v, want %v", what, got, want)
		}
	}
	image, err := as.CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil)
	must(t, image, err)
	volume, err := as.CreateVolume(t.Context(), once(), "data", map[string]string{}, 1)
	must(t, volume, err)
	kinds("after both were created", "image-import", "volume-creation")
	if err := h.ImageTrouble(t.Context(), image, "not yet", false); err != nil {
		t.Fatal(err)
	}
	kinds("after a failed attempt", "image-import", "volume-creation")
	if err := h.ImageTrouble(t.Context(), image, "no", true); err != nil {
		t.Fatal(err)
	}
	kinds("after the import has failed", "volume-creation")
	again, err := as.CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil)
	must(t, again, err)
	kinds("after the import was requested again", "image-import", "volume-creation")
	for _, err := range []error{h.ImageMade(t.Context(), image, 1, false, "x", nil), h.VolumeMade(t.Context(), volume, "y", nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	kinds("when both are ready")
	if err := h.VolumeMade(t.Context(), volume, "y", nil); err != nil { // repeated
		t.Fatal(err)
	}
	gone, err := as.DeleteImage(t.Context(), image.ID)
	must(t, gone, err)
	going, err := as.DeleteVolume(t.Context(), volume.ID)
	must(t, going, err)
	kinds("after both were deleted", "image-removal", "volume-removal")
	wantCode(t, h.VolumeMade(t.Context(), volume, "y", nil), husk.CodeNotFound) // so that a late creation removes what it has created
	if err := h.ImageRemoved(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if err := h.VolumeRemoved(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
	kinds("when both are removed", "import-removal")
	removals := h.claim(store.ImportRemoval, 2)
	if len(removals) != 1 || removals[0].Digest != "sha256:a" {
		t.Errorf("the imports to remove are %+v", removals)
	}
	if used, err := h.DigestUsed(t.Context(), "sha256:a"); err != nil || used {
		t.Errorf("the digest is used: %v, %v", used, err)
	}
}

// Whatever ends a pod's need for its key makes the removal of the key work, in the same transaction.
func TestAKeyWithoutAPlacementIsRemoved(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(4)
	spec := specOf(h.image(tenant))
	report := func(pod husk.Pod, event husk.PhaseEvent) { t.Helper(); h.report(node.ID, pod, event) }
	removed := func(what string, pod husk.Pod, want bool) {
		t.Helper()
		kinds := queryOne[[]string](h, store.RoleControl, "SELECT COALESCE(array_agg(kind ORDER BY kind), '{}') FROM work WHERE object_id = '"+pod.ID.String()+"'")
		if got := slices.Equal(kinds, []string{"key-removal"}); got != want {
			t.Errorf("%s, the pod's work is %v; want a removal of its key: %v", what, kinds, want)
		}
		if holders, err := h.KeyHolders(t.Context(), &pod.ID); err != nil || len(holders) > 0 && want {
			t.Errorf("%s, the pod's keys are %v, %v", what, holders, err)
		}
	}
	deleted := func(pod husk.Pod) {
		t.Helper()
		if _, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID); err != nil {
			t.Fatal(err)
		}
	}
	waiting := h.createPod(tenant, spec)
	deleted(waiting)
	removed("never placed", waiting, false)

	ended := h.createPod(tenant, spec)
	h.place(node.ID, ended)
	report(ended, husk.EventRunning)
	removed("while it runs", ended, false)
	report(ended, husk.EventSucceeded)
	removed("when it has ended", ended, true)

	gone := h.createPod(tenant, spec)
	h.place(node.ID, gone)
	report(gone, husk.EventRunning)
	deleted(gone)
	removed("while it stops", gone, false)
	report(gone, husk.EventGone)
	removed("when it is gone", gone, true)

	evicted := h.createPod(tenant, spec)
	h.place(node.ID, evicted)
	evictions, err := h.Evict(t.Context(), h.epoch(), []store.Eviction{{Pod: keyOf(evicted), Node: node.ID}}, "Preempted", "")
	must(t, evictions, err)
	report(evicted, husk.EventGone)
	removed("when it waits for its next placement", evicted, true)
	deleted(evicted)
	removed("when it was deleted while it waits", evicted, true)
}

func TestTenantsTakeTurnsInTheQueue(t *testing.T) {
	t.Parallel()
	h := open(t)
	busy, other := h.tenant(), h.tenant()
	for range 5 {
		h.requestVolume(busy)
	}
	last := h.requestVolume(other)
	claim := func(limit, perTenant int) []store.Work {
		t.Helper()
		work, err := h.ClaimWork(t.Context(), h.epoch(), store.Claim{Kind: store.VolumeCreation, Max: limit, PerTenant: perTenant, Expires: time.Minute})
		return must(t, work, err)
	}
	first := claim(2, 2)
	if len(first) != 2 || first[0].TenantID == first[1].TenantID {
		t.Errorf("the first claims are %+v, want one of each tenant", first)
	}
	if !slices.ContainsFunc(first, func(w store.Work) bool { return w.ObjectID == last.ID && w.Attempts == 1 }) {
		t.Errorf("the first claims are %+v, want the other tenant's volume %s, in its first attempt", first, last.ID)
	}
	if more := claim(10, 3); len(more) != 2 {
		t.Errorf("with one volume in work, a tenant with a limit of 3 gets %+v", more)
	}
	if more := claim(10, 3); len(more) != 0 {
		t.Errorf("a tenant at its limit gets %+v", more)
	}
}

func TestAClaimEnds(t *testing.T) {
	t.Parallel()
	h := open(t)
	volume := h.requestVolume(h.tenant())
	w := h.claim(store.VolumeCreation, 1)[0]
	if again := h.claim(store.VolumeCreation, 1); len(again) != 0 {
		t.Errorf("claimed twice: %+v", again)
	}
	if err := h.PostponeWork(t.Context(), w, time.Hour); err != nil {
		t.Fatal(err)
	}
	if early := h.claim(store.VolumeCreation, 1); len(early) != 0 {
		t.Errorf("claimed before it is due: %+v", early)
	}
	owner := h.connect(store.RoleOwner)
	exec := func(sql string) {
		t.Helper()
		if _, err := owner.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("UPDATE work SET due_at = now()")
	if due := h.claim(store.VolumeCreation, 1); len(due) != 1 || due[0].Attempts != 2 {
		t.Errorf("when it is due: %+v", due)
	}
	exec("UPDATE work SET claim_expires_at = now()")
	if due := h.claim(store.VolumeCreation, 1); len(due) != 1 || due[0].Attempts != 3 {
		t.Errorf("when its claim has expired: %+v", due)
	}

	// A new leader takes over what the old one has claimed, unless attempts keep ending leaders.
	old := h.epoch()
	exec("UPDATE leadership SET epoch = epoch + 1")
	if _, err := h.ClaimWork(t.Context(), old, store.Claim{Kind: store.VolumeCreation, Max: 1, PerTenant: 1, Expires: time.Minute}); err == nil {
		t.Error("an old leader claims work")
	}
	if taken := h.claim(store.VolumeCreation, 1); len(taken) != 1 || taken[0].Attempts != 4 {
		t.Errorf("a new leader: %+v", taken)
	}
	exec("UPDATE work SET attempts = 5; UPDATE leadership SET epoch = epoch + 1")
	if taken := h.claim(store.VolumeCreation, 1); len(taken) != 0 {
		t.Errorf("after attempts that may have ended five servers: %+v", taken)
	}
	exec("UPDATE work SET claim_expires_at = now()")
	late := h.claim(store.VolumeCreation, 1)
	if len(late) != 1 {
		t.Fatalf("after that, when the claim has expired: %+v", late)
	}
	if err := h.FinishWork(t.Context(), w); err != nil { // of an earlier leader
		t.Fatal(err)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM work"); n != 1 {
		t.Errorf("an earlier leader has finished the work of volume %s", volume.ID)
	}
	if err := h.FinishWork(t.Context(), late[0]); err != nil {
		t.Fatal(err)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM work"); n != 0 {
		t.Errorf("the work of volume %s is not finished", volume.ID)
	}
}
