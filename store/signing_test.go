// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"testing"
	"time"

	"husk/store"
)

// The server rotates the signing keys. It creates a new key when the old one has reached its
// lifetime, signs with it when all servers know it, and deletes the old key when all of its tokens
// have expired.
func TestSigningKeysAreRotated(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	n := 0
	next := func() (store.SigningKey, error) {
		n++
		return store.SigningKey{ID: fmt.Sprintf("key-%d", n), Private: []byte("seed"), Public: []byte("public")}, nil
	}
	rotate := func(epoch int64, life time.Duration) bool {
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
			t.Errorf("%s, the keys are %q, want %q", what, got, keys)
		}
	}
	const month = 30 * 24 * time.Hour
	epoch := h.epoch()
	want("at first", "key-1 ")
	if rotate(epoch, month) {
		t.Error("a young key was replaced")
	}
	age("key-1", month+time.Hour)
	if rotate(epoch-1, month) {
		t.Error("a server that does not lead created a key")
	}
	if !rotate(epoch, month) {
		t.Error("an old key was not replaced")
	}
	want("after a month", "key-2 key-1 ")
	if rotate(epoch, month) {
		t.Error("a key was created although the next one is already published, or deleted although it still signs")
	}
	age("key-2", 10*time.Minute)
	if rotate(epoch, month) {
		t.Error("a key was deleted although some of its tokens are still valid")
	}
	age("key-2", 20*time.Minute)
	if !rotate(epoch, month) {
		t.Error("a key was not deleted although all of its tokens have expired")
	}
	want("in the end", "key-2 ")
}
