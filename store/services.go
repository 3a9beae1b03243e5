// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk/service"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/repeats"
	"husk/store/services"
)

// CreateService stores a service and gives it an address. Codes: quota_exceeded, name_taken, idempotency_mismatch.
func (t Tenant) CreateService(ctx context.Context, idem Idempotency, s service.Service) (service.Service, error) {
	return inTenant(ctx, t, func(q *db.Queries) (service.Service, error) {
		tenant, err := q.LockTenant(ctx, t.id)
		if err != nil {
			return s, orNotFound(err, "tenant")
		}
		return repeats.Once(ctx, q, t.id, idem, func() (ID, service.Service, error) {
			s.ID = uuid.New()
			made, err := services.Insert(ctx, q, tenant, t.cfg.ServiceRange, s)
			if err != nil {
				return s.ID, s, err
			}
			return s.ID, made, requested(ctx, q, t.id, "service", s.ID, "Created", "")
		}, func(id ID) (service.Service, error) { return services.Read(ctx, q, t.id, id) })
	})
}

// Service returns a service. Codes: not_found.
func (t Tenant) Service(ctx context.Context, id ID) (service.Service, error) {
	return inTenant(ctx, t, func(q *db.Queries) (service.Service, error) {
		s, err := services.Read(ctx, q, t.id, id)
		return s, orNotFound(err, "service")
	})
}

// Services lists a tenant's services, oldest first. Codes: invalid (cursor).
func (t Tenant) Services(ctx context.Context, page Page, filter Filter) ([]service.Service, string, error) {
	return tenantPage(ctx, t, page, func(q *db.Queries, after cursor.Position, limit int) ([]service.Service, error) {
		return services.Page(ctx, q, db.ServicesParams{TenantID: t.id, AfterTime: after.At, AfterID: after.ID, Name: filter.Name, Selector: convert.Selector(filter.Labels), Max: limit})
	}, func(s service.Service) service.Service { return s }, func(s service.Service) (time.Time, ID) { return s.CreatedAt, s.ID })
}

// UpdateService changes labels, and what change changes. Codes: not_found, invalid, precondition_failed, and those of change.
func (t Tenant) UpdateService(ctx context.Context, id ID, labels map[string]*string, change func(service.Service) (service.Service, error)) (service.Service, error) {
	return inTenant(ctx, t, func(q *db.Queries) (service.Service, error) {
		was, err := services.Lock(ctx, q, t.id, id)
		if err != nil {
			return was, orNotFound(err, "service")
		}
		if err := ifMatch(ctx, was); err != nil {
			return was, err
		}
		now, err := services.Changed(was, change)
		if err != nil {
			return was, err
		}
		if now, err = services.Update(ctx, q, now, labels); err != nil {
			return was, err
		}
		return now, requested(ctx, q, t.id, "service", id, "Changed", "")
	})
}

// DeleteService deletes a service. Codes: not_found, precondition_failed.
func (t Tenant) DeleteService(ctx context.Context, id ID) error {
	return tenantDo(ctx, t, func(q *db.Queries) error {
		was, err := services.Lock(ctx, q, t.id, id)
		if err != nil {
			return orNotFound(err, "service")
		}
		if err := ifMatch(ctx, was); err != nil {
			return err
		}
		if err := q.RemoveService(ctx, db.RemoveServiceParams{TenantID: t.id, ID: id}); err != nil {
			return err
		}
		return requested(ctx, q, t.id, "service", id, "Deleted", "")
	})
}

// Services returns the services of these tenants, or of all tenants if the list is nil, with their ready endpoints.
func (c Control) Services(ctx context.Context, tenants []ID) ([]services.Balanced, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]services.Balanced, error) { return services.All(ctx, q, tenants) })
}

// WatchNetworks collects the tenants in whose networks something has changed: services, or pods with their places, names, labels and readiness.
// Call Close when done.
func (c Control) WatchNetworks() *hints.Changes { return c.hub.Collect(hints.NetworkPrefix) }
