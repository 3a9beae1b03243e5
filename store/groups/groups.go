// SPDX-License-Identifier: Apache-2.0

// Package groups stores security groups, in transactions of package store. Which pods are in a group is not stored: each read of groups also reads the
// tenant's pods, and package service/securitygroup matches them. A transaction that changes groups, or which groups a pod names, holds the tenant's
// row.
package groups

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/service/securitygroup"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// Tenant is the access of a tenant's caller to security groups.
type Tenant struct {
	ID      uuid.UUID
	Do      func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	IfMatch func(ctx context.Context, object any) error                  // refuses if the caller expects another version
	Record  func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

const kind = "securityGroup"

// Create stores a group. Codes: quota_exceeded, name_taken, not_found (a peer), idempotency_mismatch.
func (t Tenant) Create(ctx context.Context, key repeats.Key, g securitygroup.Group) (made securitygroup.Group, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		tenant, err := q.LockTenant(ctx, t.ID)
		if err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		made, err = repeats.Once(ctx, q, t.ID, key, func() (uuid.UUID, securitygroup.Group, error) {
			g.ID = uuid.New()
			made, err := t.insert(ctx, q, tenant, g)
			if err == nil {
				err = t.Record(ctx, q, t.ID, kind, g.ID, "Created", "")
			}
			return g.ID, made, err
		}, func(id uuid.UUID) (securitygroup.Group, error) { return t.read(ctx, q, id) })
		return err
	})
	return made, err
}

func (t Tenant) insert(ctx context.Context, q *db.Queries, tenant db.Tenant, g securitygroup.Group) (securitygroup.Group, error) {
	used, err := q.GroupUse(ctx, t.ID)
	if err == nil {
		err = admission.Quota("", "security groups", used, 1, tenant.QuotaSecurityGroups)
	}
	if err != nil {
		return g, err
	}
	if err := t.findPeers(ctx, q, g); err != nil {
		return g, err
	}
	if err := number(ctx, q, &g, nil); err != nil {
		return g, err
	}
	row, err := q.InsertGroup(ctx, db.InsertGroupParams{
		TenantID: t.ID, ID: g.ID, Name: g.Name, Labels: g.Labels, Selector: selector(g), Restricts: texts(g.Restricts), Rules: g.Rules,
	})
	if pgerr.UniqueViolation(err, "security_groups_tenant_id_name_key") {
		return g, husk.Errorf(husk.CodeNameTaken, "name", "a security group named %q exists already", g.Name)
	}
	if err != nil {
		return g, err
	}
	return t.one(ctx, q, row)
}

// findPeers refuses a group with a rule about a group that does not exist. Codes: not_found.
func (t Tenant) findPeers(ctx context.Context, q *db.Queries, g securitygroup.Group) error {
	known, err := q.GroupsNamed(ctx, db.GroupsNamedParams{TenantID: t.ID, Names: g.Peers()})
	if err != nil {
		return err
	}
	for i, r := range g.Rules {
		for j, p := range r.Peers {
			if p.Group != "" && p.Group != g.Name && !slices.Contains(known, p.Group) {
				return husk.Errorf(husk.CodeNotFound, fmt.Sprintf("rules[%d].peers[%d].group", i, j), "there is no security group %q", p.Group)
			}
		}
	}
	return nil
}

// number gives rules their numbers. Those that were there before keep theirs, and so their counters.
func number(ctx context.Context, q *db.Queries, g *securitygroup.Group, before []securitygroup.Rule) error {
	before = slices.Clone(before)
	missing := 0
	for i := range g.Rules {
		r := &g.Rules[i]
		r.Number = 0
		at := slices.IndexFunc(before, func(b securitygroup.Rule) bool {
			b.Number = 0
			return reflect.DeepEqual(b, *r)
		})
		if at < 0 {
			missing++
			continue
		}
		r.Number = before[at].Number
		before = slices.Delete(before, at, at+1)
	}
	if missing == 0 {
		return nil
	}
	numbers, err := q.RuleNumbers(ctx, missing)
	if err != nil {
		return err
	}
	for i := range g.Rules {
		if g.Rules[i].Number == 0 {
			g.Rules[i].Number, numbers = numbers[0], numbers[1:]
		}
	}
	return nil
}

// Get returns a group. Codes: not_found.
func (t Tenant) Get(ctx context.Context, id uuid.UUID) (g securitygroup.Group, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		g, err = t.read(ctx, q, id)
		return err
	})
	return g, err
}

func (t Tenant) read(ctx context.Context, q *db.Queries, id uuid.UUID) (securitygroup.Group, error) {
	row, err := q.GroupByID(ctx, db.GroupByIDParams{TenantID: t.ID, ID: id})
	if err != nil {
		return securitygroup.Group{}, pgerr.NotFound(err, "security group")
	}
	return t.one(ctx, q, row)
}

// one adds the status to a group.
func (t Tenant) one(ctx context.Context, q *db.Queries, row db.SecurityGroup) (securitygroup.Group, error) {
	pods, err := readPods(ctx, q, []uuid.UUID{t.ID})
	return withPods(convertGroup(row), pods[t.ID]), err
}

func withPods(g securitygroup.Group, pods []securitygroup.Pod) securitygroup.Group {
	for _, p := range pods {
		if g.Has(p) {
			g.Status.Pods++
		}
	}
	return g
}

// List lists groups, oldest first. A nil name selects all, and so does a nil selector. Codes: invalid (cursor).
func (t Tenant) List(ctx context.Context, page cursor.Page, name *string, labels husk.Selector) (items []securitygroup.Group, next string, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		items, next, err = cursor.Read(page, func(after cursor.Position, limit int) ([]db.SecurityGroup, error) {
			return q.Groups(ctx, db.GroupsParams{TenantID: t.ID, AfterTime: after.At, AfterID: after.ID, Name: name, Selector: convert.Selector(labels), Max: limit})
		}, convertGroup, func(g securitygroup.Group) (time.Time, uuid.UUID) { return g.CreatedAt, g.ID })
		if err != nil || len(items) == 0 {
			return err
		}
		pods, err := readPods(ctx, q, []uuid.UUID{t.ID})
		for i := range items {
			items[i] = withPods(items[i], pods[t.ID])
		}
		return err
	})
	return items, next, err
}

// Update changes labels, and what change changes. Codes: not_found, invalid, precondition_failed, and those of change.
func (t Tenant) Update(ctx context.Context, id uuid.UUID, labels map[string]*string, change func(securitygroup.Group) (securitygroup.Group, error)) (now securitygroup.Group, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.read(ctx, q, id)
		if err != nil {
			return err
		}
		if err := t.IfMatch(ctx, was); err != nil {
			return err
		}
		if now, err = change(was); err != nil {
			return err
		}
		if err := now.Check(); err != nil {
			return err
		}
		if err := t.findPeers(ctx, q, now); err != nil {
			return err
		}
		all, err := lifecycle.Labels(was.Labels, labels, "labels")
		if err != nil {
			return err
		}
		if err := number(ctx, q, &now, was.Rules); err != nil {
			return err
		}
		row, err := q.UpdateGroup(ctx, db.UpdateGroupParams{TenantID: t.ID, ID: id, Labels: all, Selector: selector(now), Restricts: texts(now.Restricts), Rules: now.Rules})
		if err != nil {
			return err
		}
		numbers := convert.All(now.Rules, func(r securitygroup.Rule) int64 { return r.Number })
		if err := q.DropRuleCounters(ctx, db.DropRuleCountersParams{TenantID: t.ID, GroupID: id, Numbers: append([]int64{}, numbers...)}); err != nil {
			return err
		}
		if now, err = t.one(ctx, q, row); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, kind, id, "Changed", "")
	})
	return now, err
}

// Delete deletes a group that no pod, no service and no other group names. Codes: not_found, conflict, precondition_failed.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID) error {
	return t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.read(ctx, q, id)
		if err != nil {
			return err
		}
		if err := t.IfMatch(ctx, was); err != nil {
			return err
		}
		users, err := q.GroupUsers(ctx, db.GroupUsersParams{TenantID: t.ID, Name: was.Name})
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return husk.Errorf(husk.CodeConflict, "", "the security group is named by %s; change them first", strings.Join(users, ", "))
		}
		if err := q.RemoveGroup(ctx, db.RemoveGroupParams{TenantID: t.ID, ID: id}); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, kind, id, "Deleted", "")
	})
}

func selector(g securitygroup.Group) husk.Selector {
	if g.Selector == nil {
		return husk.Selector{}
	}
	return g.Selector
}

func texts(directions []securitygroup.Direction) []string {
	return append([]string{}, convert.All(directions, func(d securitygroup.Direction) string { return string(d) })...)
}

func convertGroup(r db.SecurityGroup) securitygroup.Group {
	g := securitygroup.Group{
		ID: r.ID, TenantID: r.TenantID, Name: r.Name, Labels: r.Labels, Selector: r.Selector, SelectorText: r.Selector.String(), Restricts: []securitygroup.Direction{},
		Rules: r.Rules, CreatedAt: r.CreatedAt,
	}
	for _, d := range r.Restricts {
		g.Restricts = append(g.Restricts, securitygroup.Direction(d))
	}
	return g
}

// readPods returns the pods of tenants with the groups that they and their services name.
func readPods(ctx context.Context, q *db.Queries, tenants []uuid.UUID) (map[uuid.UUID][]securitygroup.Pod, error) {
	rows, err := q.GroupPods(ctx, tenants)
	pods := map[uuid.UUID][]securitygroup.Pod{}
	if err != nil || len(rows) == 0 {
		return pods, err
	}
	services, err := q.ServicesWithGroups(ctx, tenants)
	byTenant := map[uuid.UUID][]db.ServicesWithGroupsRow{}
	for _, s := range services {
		byTenant[s.TenantID] = append(byTenant[s.TenantID], s)
	}
	for _, r := range rows {
		p := securitygroup.Pod{ID: r.ID, Labels: r.Labels, Groups: r.SecurityGroups}
		for _, s := range byTenant[r.TenantID] {
			if s.Selector.Matches(r.Labels) {
				p.Groups = append(p.Groups, s.SecurityGroups...)
			}
		}
		pods[r.TenantID] = append(pods[r.TenantID], p)
	}
	return pods, err
}

// Planned is a group with its pods, as OVN needs it.
type Planned struct {
	securitygroup.Group

	Members []uuid.UUID
}

// All returns the groups of tenants, by tenant.
func All(ctx context.Context, q *db.Queries, tenants []uuid.UUID) (map[uuid.UUID][]Planned, error) {
	rows, err := q.GroupsOfTenants(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	pods, err := readPods(ctx, q, tenants)
	all := map[uuid.UUID][]Planned{}
	for _, r := range rows {
		p := Planned{Group: convertGroup(r)}
		for _, pod := range pods[r.TenantID] {
			if p.Has(pod) {
				p.Members = append(p.Members, pod.ID)
			}
		}
		all[r.TenantID] = append(all[r.TenantID], p)
	}
	return all, err
}
