// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store"
)

func TestAllImportsOfADigestShowItsProgress(t *testing.T) {
	t.Parallel()
	h := open(t)
	first, second := h.tenant(), h.tenant()
	order := func(tenant husk.Tenant, digest string) husk.Image {
		t.Helper()
		i, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/"+digest[7:]+":1", digest, husk.ImageConfig{}, nil)
		return must(t, i, err)
	}
	progress := func(i husk.Image) *husk.ImportProgress {
		t.Helper()
		now, err := h.as(i.TenantID).Image(t.Context(), i.ID)
		return must(t, now, err).Progress
	}
	wants := func(what string, i husk.Image, want *husk.ImportProgress) {
		t.Helper()
		if diff := cmp.Diff(want, progress(i)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	tell := func(fetched int64) *husk.ImportProgress {
		t.Helper()
		p := husk.ImportProgress{FetchedBytes: fetched, TotalBytes: 100}
		if err := h.ImageProgress(t.Context(), "sha256:a", p); err != nil {
			t.Fatal(err)
		}
		return &p
	}
	mine, others, different := order(first, "sha256:a"), order(second, "sha256:a"), order(first, "sha256:b")
	wants("before it begins", mine, nil)
	now := tell(7)
	wants("the first tenant's", mine, now)
	wants("the second tenant's", others, now)
	wants("another digest's", different, nil)

	// A try that failed has come to nothing, and one that is over shows nothing.
	if err := h.ImageTrouble(t.Context(), mine, "the registry does not respond", false); err != nil {
		t.Fatal(err)
	}
	wants("of a try that failed", mine, nil)
	tell(8)
	if err := h.ImageTrouble(t.Context(), mine, "the registry does not respond", true); err != nil {
		t.Fatal(err)
	}
	wants("of an import that failed", mine, nil)
	tell(9)
	wants("of an import that failed, when others go on", mine, nil)
	order(first, "sha256:a")
	wants("of an import that was ordered again", mine, nil)
	tell(10)
	if err := h.ImageMade(t.Context(), mine, 1, "x"); err != nil {
		t.Fatal(err)
	}
	now = tell(11)
	wants("of an image that is ready", mine, nil)
	wants("of one that is not yet", others, now)
	gone, err := h.as(second.ID).DeleteImage(t.Context(), others.ID)
	if must(t, gone, err); gone.Progress != nil {
		t.Errorf("an image that is being deleted has progress %+v", gone.Progress)
	}
	tell(12)
	wants("of an image that is being deleted", others, nil)
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM images WHERE fetched_bytes IS NOT NULL OR total_bytes IS NOT NULL"); n != 0 {
		t.Errorf("%d images keep progress that is over", n)
	}
}

func TestProgressDoesNotBlockRequestsOrWakeOtherWatches(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil)
	must(t, image, err)
	ofImages, done := h.as(tenant.ID).WatchImages()
	defer done()
	hinted := func(what string) {
		t.Helper()
		select {
		case <-ofImages:
		case <-time.After(patience):
			t.Fatalf("no hint to watchers of images %s", what)
		}
	}
	h.volume(tenant)
	hinted("of what is no image")
	heard := h.connect(store.RoleControl)
	if _, err := heard.Exec(t.Context(), "LISTEN husk"); err != nil {
		t.Fatal(err)
	}
	tell := func(fetched int64) {
		t.Helper()
		if err := h.ImageProgress(t.Context(), "sha256:a", husk.ImportProgress{FetchedBytes: fetched, TotalBytes: 9}); err != nil {
			t.Fatal(err)
		}
	}
	tell(1)
	hinted("of progress")
	if n, err := heard.WaitForNotification(t.Context()); err != nil || n.Payload != "imports:"+tenant.ID.String() {
		t.Errorf("progress wakes %+v: %v", n, err)
	}

	// An order that uses the image holds its row.
	tx, err := h.connect(store.RoleControl).BeginTx(t.Context(), pgx.TxOptions{})
	must(t, tx, err)
	if _, err := tx.Exec(t.Context(), `SELECT FROM images FOR SHARE`); err != nil {
		t.Fatal(err)
	}
	tell(2)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := h.as(tenant.ID).Image(t.Context(), image.ID); err != nil || now.Progress.FetchedBytes != 1 {
		t.Errorf("what is held is changed to %+v: %v", now.Progress, err)
	}
	tell(3)
	if now, err := h.as(tenant.ID).Image(t.Context(), image.ID); err != nil || now.Progress.FetchedBytes != 3 {
		t.Errorf("the progress is %+v: %v", now.Progress, err)
	}
}
