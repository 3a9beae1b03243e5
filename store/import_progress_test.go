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

// The progress of a tenant's import shows nothing about the imports of others, even of the same digest.
func TestAnImportShowsOnlyItsOwnProgress(t *testing.T) {
	t.Parallel()
	h := open(t)
	first, second := h.tenant(), h.tenant()
	importImage := func(tenant husk.Tenant) husk.Image {
		t.Helper()
		i, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil)
		return must(t, i, err)
	}
	wants := func(what string, i husk.Image, want *husk.ImportProgress) {
		t.Helper()
		now, err := h.as(i.TenantID).Image(t.Context(), i.ID)
		if diff := cmp.Diff(want, must(t, now, err).Progress); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	mine, others := importImage(first), importImage(second)
	setProgress := func(fetched int64) *husk.ImportProgress {
		t.Helper()
		p := husk.ImportProgress{FetchedBytes: fetched, TotalBytes: 100}
		if err := h.ImageProgress(t.Context(), mine, p); err != nil {
			t.Fatal(err)
		}
		return &p
	}
	wants("before the download begins", mine, nil)
	wants("the first tenant's import", mine, setProgress(7))
	wants("the second tenant's import", others, nil)

	// A failed attempt has no progress, and neither has an import that has ended.
	if err := h.ImageTrouble(t.Context(), mine, "the registry does not respond", false); err != nil {
		t.Fatal(err)
	}
	wants("after a failed attempt", mine, nil)
	setProgress(8)
	if err := h.ImageTrouble(t.Context(), mine, "the registry does not respond", true); err != nil {
		t.Fatal(err)
	}
	wants("a failed import", mine, nil)
	setProgress(9)
	wants("a failed import, when an old attempt reports", mine, nil)
	importImage(first)
	wants("a repeated import", mine, nil)
	setProgress(10)
	if err := h.ImageMade(t.Context(), mine, 1, false, "x", nil); err != nil {
		t.Fatal(err)
	}
	setProgress(11)
	wants("an image that is ready", mine, nil)
	gone, err := h.as(first.ID).DeleteImage(t.Context(), mine.ID)
	if must(t, gone, err); gone.Progress != nil {
		t.Errorf("an image that is being deleted has progress %+v", gone.Progress)
	}
	setProgress(12)
	wants("an image that is being deleted", mine, nil)
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM images WHERE fetched_bytes IS NOT NULL OR total_bytes IS NOT NULL"); n != 0 {
		t.Errorf("%d images still have progress after their import", n)
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
	hinted("after a change of a volume")
	eventually(t, "emptying the outbox", func() bool { return queryOne[int](h, store.RoleControl, "SELECT count(*) FROM outbox") == 0 })
	listener := h.connect(store.RoleControl)
	if _, err := listener.Exec(t.Context(), "LISTEN husk"); err != nil {
		t.Fatal(err)
	}
	setProgress := func(fetched int64) {
		t.Helper()
		if err := h.ImageProgress(t.Context(), image, husk.ImportProgress{FetchedBytes: fetched, TotalBytes: 9}); err != nil {
			t.Fatal(err)
		}
	}
	setProgress(1)
	hinted("after progress")
	if n, err := listener.WaitForNotification(t.Context()); err != nil || n.Payload != "imports:"+tenant.ID.String() {
		t.Errorf("progress wakes %+v: %v", n, err)
	}

	// A request that uses the image locks its row.
	tx, err := h.connect(store.RoleControl).BeginTx(t.Context(), pgx.TxOptions{})
	must(t, tx, err)
	if _, err := tx.Exec(t.Context(), `SELECT FROM images FOR SHARE`); err != nil {
		t.Fatal(err)
	}
	setProgress(2)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := h.as(tenant.ID).Image(t.Context(), image.ID); err != nil || now.Progress.FetchedBytes != 1 {
		t.Errorf("the progress of a locked row was changed to %+v: %v", now.Progress, err)
	}
	setProgress(3)
	if now, err := h.as(tenant.ID).Image(t.Context(), image.ID); err != nil || now.Progress.FetchedBytes != 3 {
		t.Errorf("the progress is %+v: %v", now.Progress, err)
	}
}

// The end of an import is an event, with its reason.
func TestTheEndOfAnImportIsAnEvent(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil)
	must(t, image, err)
	events := func() (texts []string) {
		t.Helper()
		list, _, err := h.as(tenant.ID).Events(t.Context(), store.Page{Limit: 10}, store.EventFilter{ObjectID: &image.ID})
		for _, e := range must(t, list, err) {
			texts = append(texts, e.Reason+": "+e.Message)
		}
		return texts
	}
	trouble := func(message string, final bool) {
		t.Helper()
		if err := h.ImageTrouble(t.Context(), image, message, final); err != nil {
			t.Fatal(err)
		}
	}
	trouble("not yet", false)
	trouble("the registry is gone", true)
	trouble("the end of an attempt that was too slow", true) // it has failed already
	want := []string{"ImportRequested: registry.example.com/a:1", "ImportFailed: the registry is gone"}
	if diff := cmp.Diff(want, events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if _, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/a:1", "sha256:a", husk.ImageConfig{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.as(tenant.ID).DeleteImage(t.Context(), image.ID); err != nil {
		t.Fatal(err)
	}
	trouble("the attempt ends after the image was deleted", true)
	if now, err := h.as(tenant.ID).Image(t.Context(), image.ID); err != nil || now.State != husk.ImageDeleting {
		t.Errorf("an image that is being deleted is %+v, %v after its import failed", now, err)
	}
}
