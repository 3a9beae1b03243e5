// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"

	"husk/store/admission"
	"husk/store/db"
)

// withinClass checks the limit of the tenant for the class of a volume that has been created or changed, of which more GiB are new in the class. The
// transaction holds the tenant's row. Codes: quota_exceeded.
func withinClass(ctx context.Context, q *db.Queries, tenant db.Tenant, class *string, field string, more int) error {
	if class == nil {
		return nil
	}
	limit, limited := tenant.QuotaVolumeClassGib[*class]
	if !limited {
		return nil
	}
	uses, err := q.VolumeClassUse(ctx, tenant.ID)
	if err != nil {
		return err
	}
	for _, u := range uses {
		if u.Class == *class {
			return admission.Quota(field, "GiB of volumes of the class "+*class, int(u.Gib)-more, more, limit)
		}
	}
	return nil
}
