// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"fmt"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
)

// SetClass gives a volume another class. A trigger tells the node of its pod (migrations/048_volume_classes.sql). Codes: conflict, not_found, quota_exceeded.
func SetClass(class string) Change {
	return func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (string, string, error) {
		switch {
		case row.State == husk.VolumeDeleting:
			return "", "", husk.Errorf(husk.CodeConflict, "", "volume %q is being deleted", row.Name)
		case row.Class != nil && *row.Class == class:
			return "", "", nil
		}
		err := q.SetVolumeClass(ctx, db.SetVolumeClassParams{TenantID: row.TenantID, ID: row.ID, Class: &class})
		if err != nil {
			return "", "", withoutClass(err, class)
		}
		return "ClassChanged", "to " + class, withinClass(ctx, q, tenant, &class, "class", row.SizeGib)
	}
}

// withoutClass returns the error for a class that does not exist.
func withoutClass(err error, class string) error {
	if pgerr.ForeignKeyViolation(err) {
		return husk.Errorf(husk.CodeNotFound, "class", "there is no volume class %q; list them with listVolumeClasses", class)
	}
	return err
}

// ClassUse is a class, and how many GiB its volumes have.
type ClassUse struct {
	husk.VolumeClass
	GiB int64
}

// Classes returns all volume classes with their volumes, sorted by name.
func (c Copies) Classes(ctx context.Context) (all []ClassUse, _ error) {
	err := c.Do(ctx, func(q *db.Queries) error {
		rows, err := q.VolumeClasses(ctx, nil)
		all = convert.All(rows, func(r db.VolumeClassesRow) ClassUse {
			use := ClassUse{class(r.VolumeClass), r.Gib}
			use.Volumes = &r.Volumes
			return use
		})
		return err
	})
	return all, err
}

// ClassesOfTenant returns all volume classes, without what only operators see.
func ClassesOfTenant(ctx context.Context, q *db.Queries) ([]husk.VolumeClass, error) {
	rows, err := q.VolumeClasses(ctx, nil)
	return convert.All(rows, func(r db.VolumeClassesRow) husk.VolumeClass { return class(r.VolumeClass) }), err
}

func class(r db.VolumeClass) husk.VolumeClass {
	return husk.VolumeClass{Name: r.Name, DiskLimits: husk.DiskLimits{IOPS: r.Iops, MiBPerSecond: r.MibPerSecond}, Default: r.IsDefault, CreatedAt: r.CreatedAt}
}

// PutClass creates a volume class or changes it. A trigger tells the nodes of the pods that use its volumes. Codes: conflict.
func (c Copies) PutClass(ctx context.Context, k husk.VolumeClass) (now husk.VolumeClass, _ error) {
	err := c.Do(ctx, func(q *db.Queries) error {
		if k.Default {
			if err := q.UnsetDefaultVolumeClass(ctx, k.Name); err != nil {
				return err
			}
		}
		err := q.PutVolumeClass(ctx, db.PutVolumeClassParams{Name: k.Name, Iops: k.IOPS, MibPerSecond: k.MiBPerSecond, IsDefault: k.Default})
		if pgerr.UniqueViolation(err, "default_volume_class") {
			return husk.Errorf(husk.CodeConflict, "", "another request has chosen the default class at the same moment; send this one again")
		}
		if err != nil {
			return err
		}
		rows, err := q.VolumeClasses(ctx, &k.Name)
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("volume class %q has %d rows", k.Name, len(rows))
		}
		now = class(rows[0].VolumeClass)
		now.Volumes = &rows[0].Volumes
		return c.Audit(ctx, q, "volumeClass", k.Name)
	})
	return now, err
}

// DeleteClass deletes a volume class that no volume has. Codes: not_found, conflict.
func (c Copies) DeleteClass(ctx context.Context, name string) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.DeleteVolumeClass(ctx, name)
		switch {
		case pgerr.ForeignKeyViolation(err):
			return husk.Errorf(husk.CodeConflict, "", "volumes have the class %q; give them another class or delete them first", name)
		case err != nil:
			return err
		case n == 0:
			return husk.NotFound("volume class")
		}
		return c.Audit(ctx, q, "volumeClass", name)
	})
}
