// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"slices"

	"github.com/google/uuid"
)

// Login is what a verified ID token says about a person, with the trusted issuers that it matches.
type Login struct {
	Issuer, Subject, Name string
	VerifiedEmail         string // empty unless the issuer has verified it
	Claims                map[string]any
	VouchedBy             []OIDCIssuer
}

// RoleIn returns the highest role that the mappings grant in a tenant, and "" if they grant none.
func (l Login) RoleIn(tenantID uuid.UUID) Role {
	role := Role("")
	for _, i := range l.VouchedBy {
		for _, m := range i.RoleMappings {
			in := i.TenantID
			if m.TenantID != nil && i.TenantID == uuid.Nil {
				in = *m.TenantID
			}
			if in == tenantID && m.Fits(l.Claims) && (role == "" || m.Role.Includes(role)) {
				role = m.Role
			}
		}
	}
	return role
}

// MappedTenants returns the tenants in which a mapping of the installation's issuers grants a role.
func (l Login) MappedTenants() []uuid.UUID {
	var ids []uuid.UUID
	for _, i := range l.VouchedBy {
		for _, m := range i.RoleMappings {
			if m.TenantID != nil && i.TenantID == uuid.Nil && m.Fits(l.Claims) && !slices.Contains(ids, *m.TenantID) {
				ids = append(ids, *m.TenantID)
			}
		}
	}
	return ids
}
