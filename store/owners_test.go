// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"testing"
	"time"

	"husk"
	"husk/store"
)

// ownerAccount creates a service account of the tenant with the role owner and a key, and returns the account and the store's methods for it.
func (h fixture) ownerAccount(tenant husk.Tenant) (husk.APIKey, store.Tenant) {
	h.t.Helper()
	key, err := h.CreateTenantKey(h.t.Context(), tenant.ID, once(), named("owner"), store.KeyRequest{Name: "key"})
	must(h.t, key, err)
	return key, h.db.Tenant(husk.Caller{Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: key.ClientID, Role: husk.RoleOwner, TenantID: tenant.ID})
}

func TestATenantKeepsItsLastOwner(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant := h.tenant()
	key, owner := h.ownerAccount(tenant)
	disabled, viewer := true, husk.RoleViewer

	// None of these is an owner who can log in: an owner without a key, with a key for metrics or an expired key; and an invited user.
	spare, err := owner.CreateServiceAccount(ctx, once(), "spare", husk.RoleOwner)
	must(t, spare, err)
	metrics, err := owner.CreateAPIKey(ctx, spare.ID, once(), store.KeyRequest{Name: "metrics", LimitedTo: husk.LimitedToMetrics})
	must(t, metrics, err)
	expired, err := owner.CreateAPIKey(ctx, spare.ID, once(), store.KeyRequest{Name: "expired", Life: time.Nanosecond})
	must(t, expired, err)
	invited, err := owner.CreateUser(ctx, once(), husk.User{Issuer: "https://login.example.com", Subject: "1", Role: husk.RoleOwner})
	must(t, invited, err)
	lose := map[string]func() error{
		"a lower role": func() error {
			_, err := owner.SetServiceAccountRole(ctx, key.ServiceAccountID, husk.RoleViewer)
			return err
		},
		"no account": func() error { return owner.DeleteServiceAccount(ctx, key.ServiceAccountID) },
		"no key":     func() error { return owner.DeleteAPIKey(ctx, key.ServiceAccountID, key.ClientID) },
	}
	for name, change := range lose {
		if err := change(); husk.CodeOf(err) != husk.CodeLastOwner {
			t.Errorf("%s for the last owner returned %v, want last_owner", name, err)
		}
	}
	// Others can still lose their access, and a change that keeps the owner succeeds.
	wantCode(t, owner.DeleteAPIKey(ctx, spare.ID, expired.ClientID), "")
	wantCode(t, owner.DeleteUser(ctx, invited.ID), "")
	_, err = owner.SetServiceAccountRole(ctx, key.ServiceAccountID, husk.RoleOwner)
	wantCode(t, err, "")

	// A user who has logged in counts, until disabled; then the user is the last one.
	issuer, err := owner.CreateIssuer(ctx, once(), husk.OIDCIssuer{Name: "login", Issuer: "https://login.example.com", ClientID: "husk", RoleMappings: []husk.RoleMapping{}})
	must(t, issuer, err)
	invited, err = owner.CreateUser(ctx, once(), husk.User{Issuer: "https://login.example.com", Subject: "2", Role: husk.RoleOwner})
	must(t, invited, err)
	person, _, err := h.LogIn(ctx, husk.Login{Issuer: "https://login.example.com", Subject: "2"}, &tenant.ID)
	must(t, person, err)
	byUser := h.db.Tenant(person)
	wantCode(t, byUser.DeleteServiceAccount(ctx, key.ServiceAccountID), "")
	for name, change := range map[string]func() error{
		"a lower role":         func() error { _, err := byUser.UpdateUser(ctx, person.ID, &viewer, nil); return err },
		"being disabled":       func() error { _, err := byUser.UpdateUser(ctx, person.ID, nil, &disabled); return err },
		"being deleted":        func() error { return byUser.DeleteUser(ctx, person.ID) },
		"the issuer's removal": func() error { return byUser.DeleteIssuer(ctx, issuer.ID) },
	} {
		if err := change(); husk.CodeOf(err) != husk.CodeLastOwner {
			t.Errorf("%s for the last owner returned %v, want last_owner", name, err)
		}
	}
	if users, _, err := byUser.Users(ctx, store.Page{Limit: 100}); err != nil || len(users) != 1 || users[0].Role != husk.RoleOwner || users[0].Disabled {
		t.Errorf("the users are %+v, %v", users, err)
	}
}

func TestOwnersCannotRemoveEachOtherAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	for range 10 {
		tenant := h.tenant()
		first, byFirst := h.ownerAccount(tenant)
		second, bySecond := h.ownerAccount(tenant)
		errs := concurrently(4, func(i int) error {
			switch i {
			case 0:
				_, err := byFirst.SetServiceAccountRole(ctx, second.ServiceAccountID, husk.RoleViewer)
				return err
			case 1:
				_, err := bySecond.SetServiceAccountRole(ctx, first.ServiceAccountID, husk.RoleDeveloper)
				return err
			case 2:
				return byFirst.DeleteAPIKey(ctx, first.ServiceAccountID, first.ClientID)
			default:
				return bySecond.DeleteServiceAccount(ctx, second.ServiceAccountID)
			}
		})
		done := 0
		for _, err := range errs {
			switch husk.CodeOf(err) {
			case "":
				done++
			case husk.CodeLastOwner, husk.CodeUnauthenticated, husk.CodeNotFound: // the caller or its object was gone, or it is the last one
			default:
				t.Errorf("a change returned %v", err)
			}
		}
		owners := 0
		for _, k := range []husk.APIKey{first, second} {
			if c, err := h.Authenticate(ctx, k.ClientID, k.Secret); err == nil && c.Role == husk.RoleOwner {
				owners++
			}
		}
		if owners != 1 || done == 0 {
			t.Errorf("the tenant has %d owners after %d changes, want 1", owners, done)
		}
	}
}

func TestAnOperatorsKeyIsAlwaysAnOwners(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx := t.Context()
	tenant := h.tenant()
	role := func(account string) string {
		key, err := h.CreateTenantKey(ctx, tenant.ID, once(), account, store.KeyRequest{Name: "back"})
		if err != nil {
			return string(husk.CodeOf(err))
		}
		caller, err := h.Authenticate(ctx, key.ClientID, key.Secret)
		must(t, caller, err)
		return fmt.Sprintf("%s %s", caller.Name, caller.Role)
	}
	want := func(account, want string) {
		t.Helper()
		if got := role(account); got != want {
			t.Errorf("the operator's key for the account %q is %q, want %q", account, got, want)
		}
	}
	want("", "owner "+string(husk.RoleOwner))
	_, other := h.ownerAccount(tenant)
	accounts, _, err := other.ServiceAccounts(ctx, store.Page{Limit: 100})
	must(t, accounts, err)
	if _, err := other.SetServiceAccountRole(ctx, accounts[0].ID, husk.RoleViewer); err != nil {
		t.Fatal(err)
	}
	want("owner", "conflict")
	want("", "owner-2 owner")
	for range 19 {
		want("", "owner-2 owner")
	}
	want("", "owner-3 owner") // owner-2 has as many keys as an account can have
	want("rescue", "rescue owner")
}
