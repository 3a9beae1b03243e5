// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

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

// TestLostAccessIsHinted changes access in each way that can end a watch.
func TestLostAccessIsHinted(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	owner := h.as(tenant.ID)
	counter, done := h.db.WatchAccess(tenant.ID)
	defer done()
	account, err := owner.CreateServiceAccount(t.Context(), once(), named("account"), husk.RoleViewer)
	must(t, account, err)
	key, err := owner.CreateAPIKey(t.Context(), account.ID, once(), store.KeyRequest{Name: "key"})
	must(t, key, err)
	user, err := owner.CreateUser(t.Context(), once(), husk.User{Issuer: "https://issuer.example.com", Email: "a@example.com", Role: husk.RoleViewer})
	must(t, user, err)
	yes := true
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"a key is deleted", func() error { return owner.DeleteAPIKey(t.Context(), account.ID, key.ClientID) }},
		{"the role of an account changes", func() error {
			_, err := owner.SetServiceAccountRole(t.Context(), account.ID, husk.RoleDeveloper)
			return err
		}},
		{"an account is deleted", func() error { return owner.DeleteServiceAccount(t.Context(), account.ID) }},
		{"a user is disabled", func() error { _, err := owner.UpdateUser(t.Context(), user.ID, nil, &yes); return err }},
		{"a user is deleted", func() error { return owner.DeleteUser(t.Context(), user.ID) }},
	} {
		before := counter.Load()
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		changed, done := owner.Watch()
		if _, err := owner.CreateVolume(t.Context(), once(), named("volume"), map[string]string{}, 1); err != nil {
			t.Fatal(err)
		}
		<-changed
		if counter.Load() == before {
			t.Errorf("%s: a hint about a later change arrives first", c.name)
		}
		done()
	}
}
