// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// A Tenant with an unknown caller, or with a caller that belongs to no tenant, refuses everything.
// So does the zero value.
func TestATenantWithoutACallerRefusesEverything(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	for name, s := range map[string]store.Tenant{
		"the zero value":        {},
		"nobody":                h.db.Tenant(husk.Caller{}),
		"an operator":           h.db.Tenant(husk.Caller{Kind: husk.CallerOperator, ID: uuid.New(), TenantID: tenant.ID}),
		"an agent":              h.db.Tenant(husk.Caller{Kind: husk.CallerAgent, ID: uuid.New(), TenantID: tenant.ID}),
		"a caller without id":   h.db.Tenant(husk.Caller{Kind: husk.CallerTenant, TenantID: tenant.ID, Role: husk.RoleOwner}),
		"an unknown caller":     h.db.Tenant(husk.Caller{Kind: husk.CallerTenant, ID: uuid.New(), TenantID: tenant.ID, Role: husk.RoleOwner}),
		"a caller of no tenant": h.db.Tenant(husk.Caller{Kind: husk.CallerTenant, ID: uuid.New(), Role: husk.RoleOwner}),
	} {
		_, _, err := s.Pods(t.Context(), store.Page{Limit: 1}, store.Filter{})
		if husk.CodeOf(err) != husk.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.CreateVolume(t.Context(), once(), "v", nil, 1); husk.CodeOf(err) != husk.CodeUnauthenticated {
			t.Errorf("%s creates a volume: %v", name, err)
		}
	}
}
