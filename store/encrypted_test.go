// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// encryptedVolume returns an encrypted volume that is available.
func (h fixture) encryptedVolume(tenant husk.Tenant) husk.Volume {
	h.t.Helper()
	v, err := h.as(tenant.ID).AddVolume(h.t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, Encrypted: true})
	if must(h.t, v, err); !v.Encrypted {
		h.t.Errorf("the volume is %+v", v)
	}
	if err := h.VolumeMade(h.t.Context(), v, "rbd", nil); err != nil {
		h.t.Fatal(err)
	}
	return v
}

// snapshotOf returns a snapshot of a volume that is ready.
func (h fixture) snapshotOf(tenant husk.Tenant, of husk.Volume) husk.Snapshot {
	h.t.Helper()
	s, err := h.as(tenant.ID).CreateSnapshot(h.t.Context(), once(), husk.Snapshot{Name: named("snapshot"), Labels: map[string]string{}, VolumeID: of.ID})
	if must(h.t, s, err); s.Encrypted != of.Encrypted {
		h.t.Errorf("the snapshot is %+v", s)
	}
	if err := h.Copies().Made(h.t.Context(), tenant.ID, s.ID, "snap"); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// Copies of an encrypted disk have its key, which goes with the last of them.
func TestTheKeyOfAnEncryptedVolumeFollowsItsData(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(3)
	as := h.as(tenant.ID)
	keys := func(when string, want int) {
		t.Helper()
		if got := queryOne[int](h, store.RoleControl, "SELECT count(*)::integer FROM disk_keys"); got != want {
			t.Errorf("%s, there are %d keys, want %d", when, got, want)
		}
	}
	v := h.encryptedVolume(tenant)
	h.volume(tenant)
	h.encryptedVolume(tenant)
	keys("with two encrypted volumes", 2)
	s := h.snapshotOf(tenant, v)
	copied, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: "copy", Labels: map[string]string{}, SizeGiB: 1, Source: &husk.VolumeSource{SnapshotID: s.ID}})
	if must(t, copied, err); !copied.Encrypted {
		t.Errorf("the volume from the snapshot is %+v", copied)
	}
	_, disk, err := h.VolumeDisk(t.Context(), store.Work{TenantID: tenant.ID, ObjectID: copied.ID})
	if must(t, disk, err); !disk.Encrypted {
		t.Errorf("its disk is %+v", disk)
	}
	if err := h.VolumeMade(t.Context(), copied, "rbd", nil); err != nil {
		t.Fatal(err)
	}

	spec := specOf(h.image(tenant), v)
	spec.Volumes = append(spec.Volumes, husk.PodVolume{Name: "copy", VolumeID: copied.ID}, husk.PodVolume{Name: "old", SnapshotID: s.ID})
	pod := h.createPod(tenant, spec)
	h.place(node.ID, pod)
	state, err := h.Desired(t.Context(), node.ID, nil)
	must(t, state, err)
	got := state.Changes[0].Pod
	passphrase := got.Volumes[v.ID].Passphrase
	if len(passphrase) < 32 || got.Volumes[copied.ID].Passphrase != passphrase || got.Snapshots[s.ID].Passphrase != passphrase {
		t.Errorf("the node gets passphrases with %d, %d and %d characters", len(passphrase), len(got.Volumes[copied.ID].Passphrase), len(got.Snapshots[s.ID].Passphrase))
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", got.Volumes, got.Volumes, got.Volumes, passphrase); strings.Contains(printed, string(passphrase)) {
		t.Errorf("the passphrase is printed: %s", printed)
	}
	if other, err := h.Desired(t.Context(), h.node(1).ID, nil); err != nil || len(other.Changes) != 0 {
		t.Errorf("another node is told %+v: %v", other, err)
	}
	if stored := queryOne[[]byte](h, store.RoleControl, "SELECT string_agg(sealed, '') FROM disk_keys"); strings.Contains(string(stored), string(passphrase)) {
		t.Error("the database has the passphrase in plain text")
	}

	if _, err := as.DeletePod(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	h.report(node.ID, pod, husk.EventGone)
	for _, v := range []husk.Volume{v, copied} {
		deleted, err := as.DeleteVolume(t.Context(), v.ID)
		must(t, deleted, err)
		if err := h.VolumeRemoved(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		keys("with the snapshot", 2)
	}
	if _, err := as.DeleteSnapshot(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Copies().Removed(t.Context(), tenant.ID, s.ID); err != nil {
		t.Fatal(err)
	}
	keys("without the snapshot", 1)
}

// Servers of the previous version do not claim this work, because they would not encrypt.
func TestWorkOnEncryptedVolumesHasKindsOfItsOwn(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as := h.as(tenant.ID)
	v := h.encryptedVolume(tenant)
	s := h.snapshotOf(tenant, v)
	consistent, err := as.CreateSnapshot(t.Context(), once(), husk.Snapshot{Name: "consistent", Labels: map[string]string{}, VolumeID: v.ID, Consistent: true})
	must(t, consistent, err)
	ids := map[uuid.UUID]string{consistent.ID: "encrypted-snapshot", v.ID: "encrypted-growth"}
	for kind, more := range map[string]husk.Volume{
		"encrypted-creation": {FSType: husk.FSXFS, Encrypted: true},
		"encrypted-clone":    {Source: &husk.VolumeSource{SnapshotID: s.ID}},
		"encrypted-flatten":  {Source: &husk.VolumeSource{SnapshotID: s.ID}, Flatten: true},
	} {
		more.Name, more.Labels, more.SizeGiB = kind, map[string]string{}, 1
		made, err := as.AddVolume(t.Context(), once(), more)
		ids[must(t, made, err).ID] = kind
	}
	grown, err := as.GrowVolume(t.Context(), v.ID, 2)
	must(t, grown, err)
	for id, want := range ids {
		if got := queryOne[[]string](h, store.RoleControl, "SELECT array_agg(kind) FROM work WHERE object_id = '"+id.String()+"'"); !slices.Equal(got, []string{want}) {
			t.Errorf("the work is %v, want %s", got, want)
		}
	}
}

func TestEncryptionIsNeverLostOrAdded(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as := h.as(tenant.ID)
	encrypted, plain := h.encryptedVolume(tenant), h.volume(tenant)
	secret, readable := h.snapshotOf(tenant, encrypted), h.snapshotOf(tenant, plain)
	for what, v := range map[string]husk.Volume{
		"an encrypted copy of plain data": {Encrypted: true, Source: &husk.VolumeSource{SnapshotID: readable.ID}},
		"a plain copy of encrypted data":  {Unencrypted: true, Source: &husk.VolumeSource{SnapshotID: secret.ID}},
	} {
		v.Name, v.Labels, v.SizeGiB = named("volume"), map[string]string{}, 1
		if _, err := as.AddVolume(t.Context(), once(), v); husk.CodeOf(err) != husk.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for v, s := range map[store.ID]husk.Snapshot{plain.ID: secret, encrypted.ID: readable} {
		if _, err := as.RestoreVolume(t.Context(), once(), v, s.ID); husk.CodeOf(err) != husk.CodeInvalid {
			t.Errorf("a restore from the snapshot %+v: %v", s, err)
		}
	}
	restored, err := as.RestoreVolume(t.Context(), once(), encrypted.ID, secret.ID)
	if must(t, restored, err); !restored.Encrypted {
		t.Errorf("the restored volume is %+v", restored)
	}
}
