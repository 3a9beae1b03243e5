// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/admission"
	"husk/store/configs"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
	"husk/store/seal"
)

// CreateConfig stores a config or a secret. Codes: quota_exceeded, name_taken, idempotency_mismatch.
func (t Tenant) CreateConfig(ctx context.Context, idem Idempotency, c husk.Config, values husk.Values) (husk.Config, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Config, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return husk.Config{}, pgerr.NotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, husk.Config, error) {
			c.ID = uuid.New()
			used, err := q.ConfigUse(ctx, t.id)
			if err == nil {
				err = admission.Quota("", "configs and secrets", used, 1, tenant.QuotaConfigs)
			}
			if err != nil {
				return c.ID, husk.Config{}, err
			}
			made, err := configs.Insert(ctx, q, &t.keys, t.id, c, values)
			if err != nil {
				return c.ID, husk.Config{}, err
			}
			return c.ID, made, requested(ctx, q, t.id, "config", c.ID, "Created", "")
		}, func(id ID) (husk.Config, error) { return t.readConfig(ctx, q, id) })
	})
}

func (t Tenant) readConfig(ctx context.Context, q *db.Queries, id ID) (husk.Config, error) {
	row, err := q.Config(ctx, db.ConfigParams{TenantID: t.id, ID: id})
	if err != nil || row.Kind == husk.ConfigSecret {
		return configs.Convert(row, nil), err
	}
	values, err := configs.Open(ctx, q, &t.keys, row)
	return configs.Convert(row, values), err
}

// Config returns a config with its values, or a secret without them. Codes: not_found.
func (t Tenant) Config(ctx context.Context, id ID) (husk.Config, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Config, error) {
		c, err := t.readConfig(ctx, q, id)
		return c, pgerr.NotFound(err, "config")
	})
}

// Configs lists a tenant's configs and secrets without values, oldest first. A nil kind selects both. Codes: invalid (cursor).
func (t Tenant) Configs(ctx context.Context, page Page, kind *string, filter Filter) ([]husk.Config, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.ConfigsRow, error) {
		return q.Configs(ctx, db.ConfigsParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Kind: kind, Name: filter.Name, Selector: convert.Selector(filter.Labels), Max: limit})
	}, func(r db.ConfigsRow) husk.Config {
		return husk.Config{ID: r.ID, Kind: r.Kind, Name: r.Name, Labels: r.Labels, Version: r.Version, Keys: r.Keys, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
	}, func(c husk.Config) (time.Time, ID) { return c.CreatedAt, c.ID })
}

// UpdateConfig changes labels and values. Pods that use changed values get them. Codes: not_found, too_large,
// precondition_failed, and those of change.
func (t Tenant) UpdateConfig(ctx context.Context, id ID, labels map[string]*string, change func(husk.Values) (husk.Values, error)) (husk.Config, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Config, error) {
		row, err := q.LockConfig(ctx, db.LockConfigParams{TenantID: t.id, ID: id})
		if err != nil {
			return husk.Config{}, pgerr.NotFound(err, "config")
		}
		was, err := configs.Open(ctx, q, &t.keys, row)
		if errors.Is(err, seal.ErrSealed) { // damaged values can be replaced
			was, err = husk.Values{}, nil
		}
		if err != nil {
			return husk.Config{}, err
		}
		if err := ifMatch(ctx, configs.Convert(row, was)); err != nil {
			return husk.Config{}, err
		}
		now, err := change(was)
		if err != nil {
			return husk.Config{}, err
		}
		nowLabels, err := lifecycle.Labels(row.Labels, labels, "labels")
		if err != nil {
			return husk.Config{}, err
		}
		c, err := configs.Change(ctx, q, &t.keys, row, nowLabels, was, now)
		if err != nil {
			return husk.Config{}, err
		}
		return c, requested(ctx, q, t.id, "config", id, "Changed", "")
	})
}

// DeleteConfig deletes a config or a secret that no pod uses. Codes: not_found, conflict, precondition_failed.
func (t Tenant) DeleteConfig(ctx context.Context, id ID) error {
	return tenantDo(ctx, t, func(q *db.Queries) error {
		row, err := q.LockConfig(ctx, db.LockConfigParams{TenantID: t.id, ID: id})
		if err != nil {
			return pgerr.NotFound(err, "config")
		}
		is, err := t.readConfig(ctx, q, id)
		if err == nil {
			err = ifMatch(ctx, is)
		}
		if err != nil {
			return err
		}
		switch pod, err := q.ConfigUser(ctx, db.ConfigUserParams{TenantID: t.id, ConfigID: id}); {
		case err == nil:
			return husk.Errorf(husk.CodeConflict, "", "pod %q uses %q; delete the pod first", pod, row.Name)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if err := q.RemoveConfig(ctx, db.RemoveConfigParams{TenantID: t.id, ID: id}); err != nil {
			return err
		}
		return requested(ctx, q, t.id, "config", id, "Deleted", "")
	})
}

// Secret returns the values of a secret for the server itself. Codes: not_found, conflict.
func (t Tenant) Secret(ctx context.Context, name string) (husk.Values, error) {
	return inTenant(ctx, t, func(q *db.Queries) (husk.Values, error) { return configs.Secret(ctx, q, &t.keys, t.id, name) })
}
