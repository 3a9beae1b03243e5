// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
	"husk/store/pgerr"
)

// KeepOwner runs a change of a tenant's access and refuses it if the tenant has an owner who can log in before the change, and none after it.
// It locks the tenant first, so that two owners cannot remove each other at the same time. Codes: not_found (tenant), last_owner.
func KeepOwner(ctx context.Context, q *db.Queries, tenant uuid.UUID, change func() error) error {
	if _, err := q.LockTenant(ctx, tenant); err != nil {
		return pgerr.NotFound(err, "tenant")
	}
	before, err := q.HasOwner(ctx, tenant)
	if err != nil {
		return err
	}
	if err := change(); err != nil || !before {
		return err
	}
	after, err := q.HasOwner(ctx, tenant)
	if err == nil && !after {
		err = husk.Errorf(husk.CodeLastOwner, "", "this would leave the tenant without an owner who can log in; first make somebody else an owner "+
			"(a service account with an API key, or a user who has logged in)")
	}
	return err
}
