// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// batch collects the operations of a transaction.
type batch struct {
	db    client.Client
	ops   []ovsdb.Operation
	named int // how many rows have a name until the transaction is committed
}

func (b *batch) add(ops []ovsdb.Operation, err error) error {
	b.ops = append(b.ops, ops...)
	return err
}

// children are what apply did with rows that another row refers to.
type children struct {
	added, gone []string // UUIDs, or names of rows of this transaction
	kept        []string
}

// all are the rows that there are after the transaction.
func (c children) all() []string { return append(slices.Clone(c.added), c.kept...) }

// by returns the rows of a table that belong to an owner, by their keys. Of rows with the same key, all but one are strays.
func by[M any](ctx context.Context, b *batch, t table[M], owner string) (rows map[string]*M, strays []*M, err error) {
	probe := new(M)
	*t.ids(probe) = map[string]string{idOwner: owner, idKey: nobody}
	var found []M
	if err := b.db.Where(probe).List(ctx, &found); err != nil {
		return nil, nil, fmt.Errorf("list %s of %s: %w", t.name, owner, err)
	}
	rows = make(map[string]*M, len(found))
	for i := range found {
		row := &found[i]
		key := (*t.ids(row))[idKey]
		if rows[key] != nil {
			strays = append(strays, row)
			continue
		}
		rows[key] = row
	}
	return rows, strays, nil
}

// apply adds the operations that make rows of a table what they should be, except for the columns that refer to other rows of ours. Rows that
// should not exist are removed from the row that refers to them (attach), and the database then deletes them.
func apply[M any](b *batch, t table[M], have, want map[string]*M) (children, error) {
	var c children
	for _, key := range slices.Sorted(maps.Keys(want)) {
		row := want[key]
		known := have[key]
		if known == nil {
			b.named++
			*t.uuid(row) = fmt.Sprintf("row%d", b.named)
			c.added = append(c.added, *t.uuid(row))
			continue // its creation follows in create, once its own children are known
		}
		*t.uuid(row) = *t.uuid(known)
		c.kept = append(c.kept, *t.uuid(known))
		if t.same(known, row) {
			continue
		}
		if err := b.add(b.db.Where(model.Model(known)).Update(row, t.columns(row)...)); err != nil {
			return c, fmt.Errorf("update %s %s: %w", t.name, key, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if want[key] == nil {
			c.gone = append(c.gone, *t.uuid(have[key]))
		}
	}
	return c, nil
}

// create adds the operations that create those of the rows that do not exist yet.
func create[M any](b *batch, t table[M], want map[string]*M) error {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if ovsdb.IsValidUUID(*t.uuid(want[key])) {
			continue
		}
		if err := b.add(b.db.Create(model.Model(want[key]))); err != nil {
			return fmt.Errorf("create %s %s: %w", t.name, key, err)
		}
	}
	return nil
}

// attach makes a row refer to the children that there are now, and not to those that should not exist. The references of a row that does not exist
// yet are part of its creation. What somebody else has attached stays.
func attach[M any](b *batch, t table[M], row *M, column *[]string, c children, attached []string) error {
	if !ovsdb.IsValidUUID(*t.uuid(row)) {
		*column = c.all()
		return nil
	}
	missing := slices.DeleteFunc(c.all(), func(id string) bool { return slices.Contains(attached, id) })
	gone := slices.DeleteFunc(slices.Clone(c.gone), func(id string) bool { return !slices.Contains(attached, id) })
	var mutations []model.Mutation
	if len(missing) > 0 {
		mutations = append(mutations, model.Mutation{Field: column, Mutator: ovsdb.MutateOperationInsert, Value: missing})
	}
	if len(gone) > 0 {
		mutations = append(mutations, model.Mutation{Field: column, Mutator: ovsdb.MutateOperationDelete, Value: gone})
	}
	if len(mutations) == 0 {
		return nil
	}
	return b.add(b.db.Where(model.Model(row)).Mutate(row, mutations...))
}

// remove adds the operations that delete rows of a table to which nothing refers.
func remove[M any](b *batch, rows ...*M) error {
	for _, row := range rows {
		if err := b.add(b.db.Where(model.Model(row)).Delete()); err != nil {
			return err
		}
	}
	return nil
}
