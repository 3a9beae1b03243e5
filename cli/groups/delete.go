// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
)

// Delete deletes groups. It deletes a group before those that its rules name. Groups that name each other lose those rules first. deleted is called for
// each group that was deleted, and failed for each that was not.
func Delete(ctx context.Context, c *client.Client, ids []uuid.UUID, deleted func(id uuid.UUID), failed func(id uuid.UUID, err error)) {
	untied := false
	for len(ids) > 0 {
		var left []uuid.UUID
		var refused []error
		for _, id := range ids {
			err := c.SecurityGroups.Delete(ctx, id)
			switch {
			case err == nil:
				deleted(id)
			case client.HasCode(err, husk.CodeConflict) && len(ids) > 1: // perhaps only until another one is gone
				left, refused = append(left, id), append(refused, err)
			default:
				failed(id, err)
			}
		}
		if len(left) == len(ids) {
			if untied || !untie(ctx, c, left) {
				for i, id := range left {
					failed(id, refused[i])
				}
				return
			}
			untied = true
		}
		ids = left
	}
}

// untie removes the rules with which these groups name each other. It reports whether there were any.
func untie(ctx context.Context, c *client.Client, ids []uuid.UUID) (changed bool) {
	var all []openapi.SecurityGroup
	for _, id := range ids {
		if g, err := c.SecurityGroups.Get(ctx, id); err == nil {
			all = append(all, g)
		}
	}
	for _, g := range all {
		rules := slices.DeleteFunc(slices.Clone(g.Rules), func(r openapi.SecurityRule) bool {
			return slices.ContainsFunc(openapi.Value(r.Peers), func(p openapi.SecurityRulePeer) bool {
				return slices.ContainsFunc(all, func(o openapi.SecurityGroup) bool { return o.ID != g.ID && o.Name == openapi.Value(p.Group) })
			})
		})
		if len(rules) == len(g.Rules) {
			continue
		}
		for i := range rules {
			rules[i].Number = nil // the server's
		}
		if _, err := c.SecurityGroups.Update(ctx, g.ID, openapi.SecurityGroupUpdate{Rules: &rules}, false); err == nil {
			changed = true
		}
	}
	return changed
}
