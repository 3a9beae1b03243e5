// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"testing"
	"time"

	"husk/store"
)

// The keys that sign tokens follow each other by themselves: a new one is made when the old one is old, signs when every server knows it,
// and the old one goes when no token of it can be left.
func TestSigningKeysFollowEachOther(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	n := 0
	next := func() (store.SigningKey, error) {
		n++
		return store.SigningKey{ID: fmt.Sprintf("key-%d", n), Private: []byte("seed"), Public: []byte("public")}, nil
	}
	tend := func(epoch int64, life time.Duration) bool {
		t.Helper()
		changed, err := h.TendSigningKeys(ctx, epoch, life, time.Minute, 20*time.Minute, next)
		must(t, changed, err)
		return changed
	}
	ids := func() string {
		t.Helper()
		keys, err := h.SigningKeys(ctx, next)
		must(t, keys, err)
		all := ""
		for _, k := range keys {
			all += k.ID + " "
		}
		return all
	}
	age := func(id string, by time.Duration) {
		t.Helper()
		if _, err := h.connect(store.RoleOwner).Exec(ctx, "UPDATE signing_keys SET created_at = created_at - $2::interval, signs_from = signs_from - $2::interval WHERE kid = $1", id, by); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what, keys string) {
		t.Helper()
		if got := ids(); got != keys {
			t.Errorf("%s the keys are %q, want %q", what, got, keys)
		}
	}
	const month = 30 * 24 * time.Hour
	epoch := h.epoch()
	want("in the beginning", "key-1 ")
	if tend(epoch, month) {
		t.Error("a young key was replaced")
	}
	age("key-1", month+time.Hour)
	if tend(epoch-1, month) {
		t.Error("a server that does not lead made a key")
	}
	if !tend(epoch, month) {
		t.Error("an old key was not replaced")
	}
	want("after a month", "key-2 key-1 ")
	if tend(epoch, month) {
		t.Error("a key was made although the next is on its way, or removed although it still signs")
	}
	age("key-2", 10*time.Minute)
	if tend(epoch, month) {
		t.Error("a key was removed while tokens of it are left")
	}
	age("key-2", 20*time.Minute)
	if !tend(epoch, month) {
		t.Error("a key that nobody needs was kept")
	}
	want("at last", "key-2 ")
}
