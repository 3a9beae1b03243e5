// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"testing"

	"husk"
	"husk/store"
	"husk/store/disks"
)

func (h fixture) upload(tenant husk.Tenant) husk.Volume {
	h.t.Helper()
	v, err := h.as(tenant.ID).AddVolume(h.t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 2, Upload: true})
	must(h.t, v, err)
	return v
}

func TestAnUploadMakesAVolumeOrLeavesNone(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, copies := h.as(tenant.ID), h.Copies()
	work := func() int { return queryOne[int](h, store.RoleControl, "SELECT count(*) FROM work") }

	done := h.upload(tenant)
	if n := work(); n != 0 || done.State != husk.VolumeCreating || done.Message == "" {
		t.Errorf("during the upload, there is %d work, and the volume is %+v", n, done)
	}
	_, err := as.CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(h.image(tenant), done))
	wantCode(t, err, husk.CodeConflict)
	if err := as.RenewUpload(t.Context(), done.ID); err != nil {
		t.Error(err)
	}
	if err := copies.EndUploads(t.Context()); err != nil {
		t.Error(err)
	}
	if err := copies.Uploaded(t.Context(), tenant.ID, done.ID, husk.FSXFS, "abc", nil); err != nil {
		t.Fatal(err)
	}
	got, err := as.Volume(t.Context(), done.ID)
	if must(t, got, err); got.State != husk.VolumeAvailable || got.FSType != husk.FSXFS || got.Message != "" {
		t.Errorf("after the upload, the volume is %+v", got)
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM usage_open"); n != 1 {
		t.Errorf("%d usage intervals are open", n)
	}
	if err := copies.EndUpload(t.Context(), tenant.ID, done.ID, "late"); err != nil {
		t.Error(err)
	}
	if err := as.RenewUpload(t.Context(), done.ID); !errors.Is(err, disks.ErrNoUpload) {
		t.Errorf("an upload that has ended is renewed: %v", err)
	}

	failed, abandoned, deleted := h.upload(tenant), h.upload(tenant), h.upload(tenant)
	if err := copies.EndUpload(t.Context(), tenant.ID, failed.ID, "cut off"); err != nil {
		t.Fatal(err)
	}
	h.exec("UPDATE volumes SET upload_until = clock_timestamp() - interval '1 second' WHERE id = '" + abandoned.ID.String() + "'")
	if err := as.RenewUpload(t.Context(), abandoned.ID); !errors.Is(err, disks.ErrNoUpload) {
		t.Errorf("an upload is renewed too late: %v", err)
	}
	if err := copies.EndUploads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := as.DeleteVolume(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]husk.Volume{"failed": failed, "abandoned": abandoned, "deleted": deleted} {
		err := copies.Uploaded(t.Context(), tenant.ID, v.ID, husk.FSExt4, "abc", nil)
		if !errors.Is(err, disks.ErrNoUpload) {
			t.Errorf("%s: the upload succeeds after all: %v", what, err)
		}
		if now, err := as.Volume(t.Context(), v.ID); err != nil || now.State != husk.VolumeDeleting {
			t.Errorf("%s: the volume is %+v: %v", what, now, err)
		}
	}
	if n := work(); n != 3 {
		t.Errorf("%d of 3 volumes are being removed", n)
	}
}
