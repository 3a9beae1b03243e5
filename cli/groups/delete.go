// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
)

// Delete deletes groups. It deletes a group before those that its rules name. Groups that name each other lose those rules first. If one of them cannot be
// deleted for another reason, it gets the rules back that are about groups that still exist. deleted is called for each group that was deleted, and
// failed for each that was not.
func Delete(ctx context.Context, c *client.Client, ids []uuid.UUID, deleted func(id uuid.UUID), failed func(id uuid.UUID, err error)) {
	d := deletion{c: c, gone: map[uuid.UUID]bool{}}
	for len(ids) > 0 {
		var left []uuid.UUID
		var refused []error
		for _, id := range ids {
			err := c.SecurityGroups.Delete(ctx, id)
			switch {
			case err == nil:
				d.gone[id] = true
				deleted(id)
			case client.HasCode(err, husk.CodeConflict) && len(ids) > 1: // perhaps only until another one is gone
				left, refused = append(left, id), append(refused, err)
			default:
				failed(id, errors.Join(err, d.tie(ctx, id)))
			}
		}
		if len(left) == len(ids) {
			if d.untied != nil {
				for i, id := range left {
					failed(id, errors.Join(refused[i], d.tie(ctx, id)))
				}
				return
			}
			d.untie(ctx, left)
		}
		ids = left
	}
}

// deletion is the deletion of several groups.
type deletion struct {
	c      *client.Client
	untied []openapi.SecurityGroup // as they were
	gone   map[uuid.UUID]bool
}

// untie removes the peers with which these groups name each other.
func (d *deletion) untie(ctx context.Context, ids []uuid.UUID) {
	d.untied = []openapi.SecurityGroup{}
	for _, id := range ids {
		if g, err := d.c.SecurityGroups.Get(ctx, id); err == nil { // otherwise its deletion fails again, with the reason
			d.untied = append(d.untied, g)
		}
	}
	for _, g := range d.untied {
		_ = d.set(ctx, g, func(o openapi.SecurityGroup) bool { return o.ID != g.ID }) //nolint:errcheck // the deletion that follows fails, with the reason
	}
}

// tie gives a group back what untie has removed.
func (d *deletion) tie(ctx context.Context, id uuid.UUID) error {
	for _, g := range d.untied {
		if g.ID != id {
			continue
		}
		if err := d.set(ctx, g, func(o openapi.SecurityGroup) bool { return d.gone[o.ID] }); err != nil {
			return fmt.Errorf("the security group %s has lost rules about other groups and could not get them back: %w", g.Name, err)
		}
	}
	return nil
}

// set gives a group its rules, without those of its peers that are left out.
func (d *deletion) set(ctx context.Context, g openapi.SecurityGroup, out func(openapi.SecurityGroup) bool) error {
	rules := openapi.SecurityRules{}
	for _, r := range g.Rules {
		peers := openapi.Value(r.Peers)
		kept := slices.DeleteFunc(slices.Clone(peers), func(p openapi.SecurityRulePeer) bool {
			return slices.ContainsFunc(d.untied, func(o openapi.SecurityGroup) bool { return o.Name == openapi.Value(p.Group) && out(o) })
		})
		if len(peers) > 0 && len(kept) == 0 { // without peers, it would be about everybody
			continue
		}
		if len(kept) < len(peers) {
			r.Peers = &kept
		}
		r.Number = nil // the server's
		rules = append(rules, r)
	}
	restricts := g.Restricts // it must not follow from the rules that are left
	_, err := d.c.SecurityGroups.Update(ctx, g.ID, openapi.SecurityGroupUpdate{Rules: &rules, Restricts: &restricts}, false)
	return err
}
