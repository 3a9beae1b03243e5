// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"

	"husk"
	"husk/store/db"
)

// Removable returns which of the objects that have no row may be removed: those whose row was deleted, and those that an operator has
// approved. The others are recorded, so that an operator can decide: after the restore of a backup, they may be volumes of tenants.
func (c Copies) Removable(ctx context.Context, without []husk.UnknownObject) (removable map[string]bool, held int, _ error) {
	err := c.Do(ctx, func(q *db.Queries) error {
		removable, held = map[string]bool{}, 0
		names := make([]string, 0, len(without))
		for _, o := range without {
			names = append(names, o.Name)
		}
		removed, err := q.RemovedObjects(ctx, names)
		if err != nil {
			return err
		}
		for _, name := range removed {
			removable[name] = true
		}
		var found db.FoundUnknownObjectsParams
		for _, o := range without {
			if !removable[o.Name] {
				found.Names, found.Kinds = append(found.Names, o.Name), append(found.Kinds, string(o.Kind))
			}
		}
		if err := q.KeepUnknownObjects(ctx, append([]string{}, found.Names...)); err != nil {
			return err
		}
		if err := q.FoundUnknownObjects(ctx, found); err != nil {
			return err
		}
		rows, err := q.UnknownObjects(ctx)
		for _, r := range rows {
			if r.Approved {
				removable[r.Name] = true
			} else {
				held++
			}
		}
		return err
	})
	return removable, held, err
}

// IsApproved reports whether an operator has approved the removal of an unknown object that still exists.
func (c Copies) IsApproved(ctx context.Context) (approved bool, _ error) {
	err := c.Do(ctx, func(q *db.Queries) (err error) {
		approved, err = q.UnknownObjectIsApproved(ctx)
		return err
	})
	return approved, err
}

// ForgetRemoved forgets the names of objects that were removed long ago.
func (c Copies) ForgetRemoved(ctx context.Context) error {
	return c.Do(ctx, func(q *db.Queries) error { return q.ForgetRemovedObjects(ctx) })
}

// Unknown returns the objects in Ceph that this database has never known, sorted by name.
func (c Copies) Unknown(ctx context.Context) (all []husk.UnknownObject, _ error) {
	err := c.Do(ctx, func(q *db.Queries) error {
		rows, err := q.UnknownObjects(ctx)
		all = make([]husk.UnknownObject, 0, len(rows))
		for _, r := range rows {
			all = append(all, husk.UnknownObject{Name: r.Name, Kind: husk.UnknownKind(r.Kind), FoundAt: r.FoundAt, Approved: r.Approved})
		}
		return err
	})
	return all, err
}

// ApproveRemoval approves the removal of an unknown object. Codes: not_found.
func (c Copies) ApproveRemoval(ctx context.Context, name string) error {
	return c.Do(ctx, func(q *db.Queries) error {
		n, err := q.ApproveUnknownObject(ctx, name)
		if err == nil && n == 0 {
			err = husk.NotFound("unknown object")
		}
		if err != nil {
			return err
		}
		return c.Audit(ctx, q, "unknown-object", name)
	})
}
