// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"husk"
	"husk/store"
)

func TestASealedValueDoesNotOpenInAnotherRow(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	image := h.image(tenant)
	a, b := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, a, b)
	state, err := h.Desired(t.Context(), node.ID, nil)
	must(t, state, err)
	for i, p := range []husk.Pod{a, b} {
		if key := state.Changes[i].Pod.CephKey; key != "key of "+p.Name {
			t.Errorf("the key of %s is %q", p.Name, key)
		}
	}
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM pods WHERE position('key of'::bytea IN ceph_key) > 0"); n != 0 {
		t.Error("keys are stored without encryption")
	}
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), "UPDATE pods SET ceph_key = (SELECT ceph_key FROM pods WHERE id = $1) WHERE id = $2", a.ID, b.ID); err != nil {
		t.Fatal(err)
	}
	state, err = h.Desired(t.Context(), node.ID, nil)
	must(t, state, err)
	for _, c := range state.Changes {
		if moved := c.PodID == b.ID; moved != (c.Pod.KeyErr != nil) || moved != (c.Pod.CephKey == "") {
			t.Errorf("the key of pod %s is %q: %v; it was moved from another row: %v", c.PodID, c.Pod.CephKey, c.Pod.KeyErr, moved)
		}
	}
}

func TestSigningKeysAreSharedAndSealed(t *testing.T) {
	t.Parallel()
	h := open(t)
	made := make(chan struct{}, 10)
	keys := make([]store.SigningKey, 5)
	for _, err := range concurrently(len(keys), func(i int) error {
		got, err := h.SigningKeys(t.Context(), func() (store.SigningKey, error) {
			made <- struct{}{}
			return store.SigningKey{ID: "kid", Private: []byte("private seed"), Public: []byte("public")}, nil
		})
		if err == nil {
			keys[i] = got[0]
		}
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, k := range keys {
		if k.ID != "kid" || !bytes.Equal(k.Private, []byte("private seed")) {
			t.Errorf("the key is %+v", k)
		}
	}
	if len(made) != 1 {
		t.Errorf("%d keys were made", len(made))
	}
	// A server with another master key must refuse to start with a signing key that it cannot read.
	other, err := store.Open(t.Context(), store.Config{
		URL: h.url(store.RoleOwner), MasterKeys: [][]byte{bytes.Repeat([]byte{8}, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, other, err)
	defer other.Close()
	if _, err := other.Control().SigningKeys(t.Context(), nil); err == nil {
		t.Error("a signing key was opened with another master key")
	}
}

// After a start with the new master key as the first one, the old key is no longer needed.
func TestANewMasterKeySealsEverythingAgain(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant := h.tenant()
	createKey := func(s *store.Store) (husk.APIKey, error) {
		return s.Control().CreateTenantKey(ctx, tenant.ID, store.NewIdempotency("key", "CreateAPIKey", "/", nil), "owner", store.KeyRequest{Name: "key"})
	}
	first, err := createKey(h.db)
	must(t, first, err)
	signing := func() (store.SigningKey, error) {
		return store.SigningKey{ID: "kid", Private: []byte("private seed"), Public: []byte("public")}, nil
	}
	keys, err := h.SigningKeys(ctx, signing)
	must(t, keys, err)
	authority, err := h.CertificateAuthority(ctx, func() (store.Authority, error) {
		return store.Authority{Certificate: "PEM", PrivateKey: []byte("private key")}, nil
	})
	must(t, authority, err)
	none := func() (store.Authority, error) { return store.Authority{}, errors.New("there is one already") }

	was, is := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	for _, masters := range [][][]byte{{is, was}, {is}} {
		s, err := store.Open(ctx, store.Config{
			URL: h.url(store.RoleOwner), MasterKeys: masters, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, Log: slog.New(slog.DiscardHandler),
		})
		must(t, s, err)
		again, err := createKey(s)
		if must(t, again, err); again.Secret != first.Secret {
			t.Errorf("with %d master keys the repeated request gets the response %+v", len(masters), again)
		}
		keys, err := s.Control().SigningKeys(ctx, nil)
		if must(t, keys, err); string(keys[0].Private) != "private seed" {
			t.Errorf("with %d master keys the signing key is %q", len(masters), keys[0].Private)
		}
		kept, err := s.Control().CertificateAuthority(ctx, none)
		if must(t, kept, err); string(kept.PrivateKey) != "private key" {
			t.Errorf("with %d master keys the authority's key is %q", len(masters), kept.PrivateKey)
		}
		s.Close()
	}
}

func TestAStoreRefusesABadConfigurationWithTheReason(t *testing.T) {
	t.Parallel()
	good := store.Config{URL: "postgres://:x@127.0.0.1:1/none", MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.0.0.0/16"), NetworkPrefix: 24}
	for want, change := range map[string]func(*store.Config){
		"32 bytes; number 1 has 5":               func(c *store.Config) { c.MasterKeys = [][]byte{[]byte("short")} },
		"cannot be divided into networks of /8":  func(c *store.Config) { c.NetworkPrefix = 8 },
		"cannot be divided into networks of /30": func(c *store.Config) { c.NetworkPrefix = 30 },
		"the pod range fd00::/16":                func(c *store.Config) { c.PodRange = netip.MustParsePrefix("fd00::/16") },
		"must be given as a URL":                 func(c *store.Config) { c.URL = "host=localhost" },
		"as husk_owner: connect to postgres":     func(*store.Config) {},
	} {
		c := good
		change(&c)
		if _, err := store.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
