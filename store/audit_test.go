// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func TestTheAuditLogIsFiltered(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	owner := h.as(tenant.ID)
	began := time.Now().Add(-time.Minute)
	by := func(operation, actor string) context.Context {
		return store.WithRequest(t.Context(), store.Request{ID: uuid.NewString(), Operation: operation, Caller: husk.Caller{Kind: husk.CallerTenant, ID: uuid.New(), KeyID: uuid.New(), Name: actor, TenantID: tenant.ID}})
	}
	for _, e := range []struct{ operation, actor string }{{"CreateServiceAccount", "ci"}, {"CreateServiceAccount", "dev"}, {"CreateUser", "dev"}} {
		var err error
		if e.operation == "CreateUser" {
			_, err = owner.CreateUser(by(e.operation, e.actor), once(), husk.User{Issuer: "https://login.example.com", Subject: named("subject"), Role: husk.RoleViewer})
		} else {
			_, err = owner.CreateServiceAccount(by(e.operation, e.actor), once(), named("account"), husk.RoleViewer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Minute)
	for name, c := range map[string]struct {
		filter store.AuditFilter
		want   int
	}{
		"nothing":              {store.AuditFilter{}, 3},
		"an operation":         {store.AuditFilter{Operation: "createServiceAccount"}, 2},
		"an actor":             {store.AuditFilter{Actor: "dev"}, 2},
		"both":                 {store.AuditFilter{Actor: "dev", Operation: "createUser"}, 1},
		"a time before":        {store.AuditFilter{To: &began}, 0},
		"a time that includes": {store.AuditFilter{From: &began, To: &later}, 3},
		"a time after":         {store.AuditFilter{From: &later}, 0},
		"another actor":        {store.AuditFilter{Actor: "nobody"}, 0},
	} {
		for who, list := range map[string]func() ([]husk.AuditEntry, string, error){
			"the tenant": func() ([]husk.AuditEntry, string, error) {
				return owner.Audit(t.Context(), store.Page{Limit: 10}, c.filter)
			},
			"the operator": func() ([]husk.AuditEntry, string, error) {
				return h.Audit(t.Context(), store.Page{Limit: 10}, &tenant.ID, c.filter)
			},
		} {
			entries, _, err := list()
			of := 0
			for _, e := range entries {
				if e.ActorName == "ci" || e.ActorName == "dev" {
					of++
				}
			}
			if err != nil || of != c.want {
				t.Errorf("filtered by %s, %s sees %d entries, want %d: %v", name, who, of, c.want, err)
			}
		}
	}
}

// An old log costs no more than a window: a page that finds nothing there says where the next one begins.
func TestAFilterOfTheAuditLogLooksAtOneWindow(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	insert := func(operation string, n int, ago time.Duration) {
		t.Helper()
		if _, err := h.connect(store.RoleControl).Exec(t.Context(), `INSERT INTO audit (id, at, tenant_id, operation, actor_kind, actor_id, actor_name, request_id)
			SELECT gen_random_uuid(), $4::timestamptz - i * interval '1 microsecond', $1, $2, 'user', $1, 'ci', 'test' FROM generate_series(1, $3) i`, tenant.ID, operation, n, time.Now().Add(-ago)); err != nil {
			t.Fatal(err)
		}
	}
	insert("createUser", 3, time.Minute)
	insert("createPod", 150_000, 0)
	for who, list := range map[string]func(store.Page, store.AuditFilter) ([]husk.AuditEntry, string, error){
		"the tenant": func(p store.Page, f store.AuditFilter) ([]husk.AuditEntry, string, error) {
			return h.as(tenant.ID).Audit(t.Context(), p, f)
		},
		"the operator": func(p store.Page, f store.AuditFilter) ([]husk.AuditEntry, string, error) {
			return h.Audit(t.Context(), p, &tenant.ID, f)
		},
	} {
		found, page, pages := 0, store.Page{Limit: 2}, 0
		for ; pages < 10; pages++ {
			entries, next, err := list(page, store.AuditFilter{Operation: "createUser"})
			if err != nil {
				t.Fatal(err)
			}
			found += len(entries)
			if pages == 0 && (len(entries) != 0 || next == "") {
				t.Errorf("the first page of %s has %d entries, and the next one begins at %q; it looked beyond its window", who, len(entries), next)
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		if found != 3 || pages != 2 {
			t.Errorf("%s found %d entries after %d pages, want all 3 after the second", who, found, pages)
		}
	}
}
