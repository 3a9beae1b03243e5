// SPDX-License-Identifier: Apache-2.0

// Package configs stores the values of configs and secrets, and which pods use them, in transactions of package store.
//
// All values are sealed with the tenant's key. A transaction locks a config before the pods that use it, and these before their nodes.
package configs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/envelope"
	"husk/store/hints"
	"husk/store/pgerr"
	"husk/store/pools"
	sealing "husk/store/seal"
)

// owner is what values are sealed for, so that those of another row do not open.
func owner(id uuid.UUID) string { return "config " + id.String() }

func seal(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant, id uuid.UUID, values husk.Values) ([]byte, error) {
	plain, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return keys.Seal(ctx, q, tenant, plain, owner(id))
}

// Open returns the values of a config or secret.
func Open(ctx context.Context, q *db.Queries, keys *envelope.Keys, row db.Config) (husk.Values, error) {
	plain, err := keys.Open(ctx, q, row.TenantID, row.Sealed, owner(row.ID))
	if err != nil {
		return nil, err
	}
	var values husk.Values
	return values, json.Unmarshal(plain, &values)
}

// Convert returns a config with its values, and a secret without them.
func Convert(row db.Config, values husk.Values) husk.Config {
	c := husk.Config{
		ID: row.ID, Kind: row.Kind, Name: row.Name, Labels: row.Labels, Version: row.Version, Keys: row.Keys, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if row.Kind != husk.ConfigSecret {
		c.Values, c.BinaryValues = values.Split()
	}
	return c
}

// Insert stores a new config or secret. Codes: name_taken.
func Insert(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant uuid.UUID, c husk.Config, values husk.Values) (husk.Config, error) {
	sealed, err := seal(ctx, q, keys, tenant, c.ID, values)
	if err != nil {
		return husk.Config{}, err
	}
	row, err := q.InsertConfig(ctx, db.InsertConfigParams{
		TenantID: tenant, ID: c.ID, Kind: c.Kind, Name: c.Name, Labels: c.Labels, Keys: values.Keys(), Sealed: sealed, GuestBytes: values.GuestBytes(),
	})
	if pgerr.UniqueViolation(err, "configs_tenant_id_kind_name_key") {
		return husk.Config{}, husk.Errorf(husk.CodeNameTaken, "name", "a %s named %q exists already", nouns[c.Kind], c.Name)
	}
	return Convert(row, values), err
}

// nouns are the kinds in messages.
var nouns = map[husk.ConfigKind]string{husk.ConfigPlain: "config", husk.ConfigSecret: "secret"}

// Change stores changed labels or values of a locked row, and sends changed values to the nodes of the pods that use them. Codes: too_large.
func Change(ctx context.Context, q *db.Queries, keys *envelope.Keys, row db.Config, labels map[string]string, was, now husk.Values) (husk.Config, error) {
	p := db.UpdateConfigParams{TenantID: row.TenantID, ID: row.ID, Labels: labels, Keys: now.Keys(), Sealed: row.Sealed, GuestBytes: now.GuestBytes(), Version: row.Version}
	if changed := !maps.EqualFunc(was, now, slices.Equal); changed {
		var err error
		if p.Sealed, err = seal(ctx, q, keys, row.TenantID, row.ID, now); err != nil {
			return husk.Config{}, err
		}
		p.Version++
		if err := renewPods(ctx, q, row, now.GuestBytes()-row.GuestBytes); err != nil {
			return husk.Config{}, err
		}
	}
	updated, err := q.UpdateConfig(ctx, p)
	return Convert(updated, now), err
}

// renewPods sends the pods that use a config to their nodes again.
func renewPods(ctx context.Context, q *db.Queries, row db.Config, growth int) error {
	pods, err := q.PodsOfConfig(ctx, db.PodsOfConfigParams{TenantID: row.TenantID, ConfigID: row.ID, Growth: growth})
	if err != nil || len(pods) == 0 {
		return err
	}
	var nodes []uuid.UUID
	var topics []string
	for _, p := range pods {
		if growth > 0 && p.GuestBytes > husk.MaxGuestBytes {
			return husk.Errorf(husk.CodeTooLarge, "values", "pod %q uses this %s, and would have %d bytes of arguments, environments and files; the limit is %d",
				p.Name, nouns[row.Kind], p.GuestBytes, husk.MaxGuestBytes)
		}
		if p.NodeID != nil && !slices.Contains(nodes, *p.NodeID) {
			nodes, topics = append(nodes, *p.NodeID), append(topics, hints.Node(*p.NodeID))
		}
	}
	if err := q.LockNodes(ctx, nodes); err != nil {
		return err
	}
	if err := q.RenewPodsOfConfig(ctx, db.RenewPodsOfConfigParams{TenantID: row.TenantID, ConfigID: row.ID, Growth: growth}); err != nil {
		return err
	}
	return q.Hint(ctx, topics)
}

// Secret returns the values of a secret for the server itself. Codes: not_found, conflict.
func Secret(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant uuid.UUID, name string) (husk.Values, error) {
	row, err := q.ConfigByName(ctx, db.ConfigByNameParams{TenantID: tenant, Kind: husk.ConfigSecret, Name: name})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, husk.Errorf(husk.CodeNotFound, "", "there is no secret named %q; create it first", name)
	}
	if err != nil {
		return nil, err
	}
	values, err := Open(ctx, q, keys, row)
	if errors.Is(err, sealing.ErrSealed) {
		return nil, husk.Errorf(husk.CodeConflict, "", "the secret %q cannot be read any more; store its values again", name)
	}
	return values, err
}

// Found is the configs that a new pod uses, locked until the transaction ends.
type Found struct {
	GuestBytes int // of their values in the pod's frame, at most
	uses       []db.UseConfigParams
}

// Find finds the configs and secrets that a pod's spec names. In a dry run, they may be missing. Codes: not_found.
func Find(ctx context.Context, q *db.Queries, tenant uuid.UUID, spec husk.PodSpec) (Found, error) {
	var found Found
	uses := spec.ConfigUses()
	refs := slices.SortedFunc(maps.Keys(uses), func(a, b husk.ConfigRef) int { // one order of locks
		if a.Kind != b.Kind {
			return strings.Compare(string(a.Kind), string(b.Kind))
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, ref := range refs {
		use := uses[ref]
		row, err := q.ConfigToUse(ctx, db.ConfigToUseParams{TenantID: tenant, Kind: ref.Kind, Name: ref.Name})
		switch {
		case errors.Is(err, pgx.ErrNoRows) && (use.Optional || pools.IsDryRun(ctx)):
			continue
		case errors.Is(err, pgx.ErrNoRows):
			return found, husk.Errorf(husk.CodeNotFound, use.Field, "there is no %s named %q; create it first", nouns[ref.Kind], ref.Name)
		case err != nil:
			return found, err
		}
		for key := range use.Required {
			if !slices.ContainsFunc(row.Keys, func(k husk.ConfigKey) bool { return k.Name == key }) {
				return found, husk.Errorf(husk.CodeNotFound, use.Field, "the %s %q has no key %q", nouns[ref.Kind], ref.Name, key)
			}
		}
		found.GuestBytes += use.Times * row.GuestBytes
		found.uses = append(found.uses, db.UseConfigParams{TenantID: tenant, ConfigID: row.ID, Times: use.Times})
	}
	return found, nil
}

// UseBy records that a pod uses the configs.
func (f Found) UseBy(ctx context.Context, q *db.Queries, pod uuid.UUID) error {
	for _, use := range f.uses {
		use.PodID = pod
		if err := q.UseConfig(ctx, use); err != nil {
			return err
		}
	}
	return nil
}

// Values are the values of the configs that one pod uses.
type Values map[husk.ConfigRef]husk.Values

// OfNode returns the values that the pods of a node use, by pod: of all pods, or of those with these ids. Pods that use the same config share its
// values. Values that cannot be opened are left out, and unreadable has the error for each pod that uses them.
func OfNode(ctx context.Context, q *db.Queries, keys *envelope.Keys, node uuid.UUID, ids []uuid.UUID) (values map[uuid.UUID]Values, unreadable map[uuid.UUID]error, err error) {
	rows, err := q.ConfigsOfNode(ctx, db.ConfigsOfNodeParams{NodeID: node, Ids: ids})
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	uses, err := q.ConfigUsesOfNode(ctx, db.ConfigUsesOfNodeParams{NodeID: node, Ids: ids})
	if err != nil {
		return nil, nil, err
	}
	return byPod(ctx, q, keys, rows, uses)
}

// OfPods is OfNode for pods that move from or to the node.
func OfPods(ctx context.Context, q *db.Queries, keys *envelope.Keys, ids []uuid.UUID) (values map[uuid.UUID]Values, unreadable map[uuid.UUID]error, err error) {
	rows, err := q.ConfigsOfPods(ctx, ids)
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	uses, err := q.ConfigUsesOfPods(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	return byPod(ctx, q, keys, rows, convert.All(uses, func(u db.ConfigUsesOfPodsRow) db.ConfigUsesOfNodeRow { return db.ConfigUsesOfNodeRow(u) }))
}

func byPod(ctx context.Context, q *db.Queries, keys *envelope.Keys, rows []db.Config, uses []db.ConfigUsesOfNodeRow) (values map[uuid.UUID]Values, unreadable map[uuid.UUID]error, err error) {
	refs := make(map[uuid.UUID]husk.ConfigRef, len(rows))
	opened := make(map[uuid.UUID]husk.Values, len(rows))
	failed := map[uuid.UUID]error{}
	for _, row := range rows {
		refs[row.ID] = husk.ConfigRef{Kind: row.Kind, Name: row.Name}
		opened[row.ID], err = Open(ctx, q, keys, row)
		if err != nil && !errors.Is(err, sealing.ErrSealed) {
			return nil, nil, err
		}
		if err != nil {
			failed[row.ID] = fmt.Errorf("the %s %q cannot be read any more; store its values again", nouns[row.Kind], row.Name)
		}
	}
	values, unreadable = map[uuid.UUID]Values{}, map[uuid.UUID]error{}
	for _, use := range uses {
		ref, known := refs[use.ConfigID]
		switch {
		case failed[use.ConfigID] != nil:
			unreadable[use.PodID] = failed[use.ConfigID]
		case known:
			if values[use.PodID] == nil {
				values[use.PodID] = Values{}
			}
			values[use.PodID][ref] = opened[use.ConfigID]
		}
	}
	return values, unreadable, nil
}
