// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/store"
)

// TestATransactionDoesNotNotify commits many transactions with hints at the same time. A transaction
// that notifies takes a lock of the whole Postgres, so only the outbox of the server may do that.
func TestATransactionDoesNotNotify(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenantWith(husk.Quota{Volumes: 1000, VolumeGiB: 1000})
	h.as(tenant.ID)
	listener := h.connect(store.RoleControl)
	if _, err := listener.Exec(t.Context(), "LISTEN husk"); err != nil {
		t.Fatal(err)
	}
	const transactions = 200
	var creating sync.WaitGroup
	for range 8 {
		creating.Go(func() {
			for range transactions / 8 {
				if _, err := h.as(tenant.ID).CreateVolume(t.Context(), once(), named("volume"), map[string]string{}, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	creating.Wait()
	backends, topics, received := map[uint32]bool{}, map[string]bool{}, 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		n, err := listener.WaitForNotification(ctx)
		cancel()
		if err != nil {
			break
		}
		backends[n.PID], topics[n.Payload] = true, true
		received++
	}
	if !topics["work"] || !topics["tenant:"+tenant.ID.String()] {
		t.Errorf("the topics of the hints are %v", topics)
	}
	if len(backends) != 1 || received > transactions {
		t.Errorf("%d transactions with two hints each send %d notifications on %d connections, want one connection", transactions, received, len(backends))
	}
}

func TestHintsOfAServerThatHasEndedAreSent(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	changed, done := h.as(tenant.ID).Watch()
	defer done()
	if _, err := h.connect(store.RoleControl).Exec(t.Context(), "INSERT INTO outbox (topic) VALUES ('tenant:' || $1::text)", tenant.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("nobody sends the hint")
	}
	eventually(t, "emptying the outbox", func() bool { return queryOne[int](h, store.RoleControl, "SELECT count(*) FROM outbox") == 0 })
}

// TestCallersThatStand changes access in each way that must end a watch.
func TestCallersThatStand(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	owner := h.as(tenant.ID)
	account := func() (husk.ServiceAccount, husk.Caller) {
		a, err := owner.CreateServiceAccount(t.Context(), once(), named("account"), husk.RoleViewer)
		must(t, a, err)
		key, err := owner.CreateAPIKey(t.Context(), a.ID, once(), store.KeyRequest{Name: "key"})
		must(t, key, err)
		caller, err := h.Authenticate(t.Context(), key.ClientID, key.Secret)
		must(t, caller, err)
		return a, caller
	}
	user := func() (husk.User, husk.Caller) {
		u, err := owner.CreateUser(t.Context(), once(), husk.User{Issuer: "https://issuer.example.com", Email: named("a") + "@example.com", Role: husk.RoleViewer})
		must(t, u, err)
		return u, husk.Caller{Kind: husk.CallerTenant, TenantID: tenant.ID, ID: u.ID, Role: u.Role}
	}
	first, withoutKey := account()
	second, otherRole := account()
	third, withoutAccount := account()
	fourth, disabled := user()
	fifth, deleted := user()
	_, stays := account()
	all := []husk.Caller{withoutKey, otherRole, withoutAccount, disabled, deleted, stays}
	yes := true
	for i, lose := range []func() error{
		func() error { return nil },
		func() error { return owner.DeleteAPIKey(t.Context(), first.ID, withoutKey.KeyID) },
		func() error {
			_, err := owner.SetServiceAccountRole(t.Context(), second.ID, husk.RoleDeveloper)
			return err
		},
		func() error { return owner.DeleteServiceAccount(t.Context(), third.ID) },
		func() error { _, err := owner.UpdateUser(t.Context(), fourth.ID, nil, &yes); return err },
		func() error { return owner.DeleteUser(t.Context(), fifth.ID) },
	} {
		if err := lose(); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		stand, err := h.db.Watcher(tenant.ID).CallersThatStand(t.Context(), all)
		if diff := cmp.Diff(all[i:], stand); err != nil || diff != "" {
			t.Errorf("after change %d: %v\n%s", i, err, diff)
		}
	}
}
