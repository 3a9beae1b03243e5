// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/service"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// Tenant is the access of a tenant's caller to services.
type Tenant struct {
	ID      uuid.UUID
	Range   netip.Prefix                                                 // of virtual addresses
	Do      func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	IfMatch func(ctx context.Context, object any) error                  // refuses if the caller expects another version
	Record  func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

// Create stores a service and gives it an address. Codes: quota_exceeded, name_taken, not_found (a security group), idempotency_mismatch.
func (t Tenant) Create(ctx context.Context, key repeats.Key, s service.Service) (made service.Service, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		tenant, err := q.LockTenant(ctx, t.ID)
		if err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		made, err = repeats.Once(ctx, q, t.ID, key, func() (uuid.UUID, service.Service, error) {
			s.ID = uuid.New()
			made, err := insert(ctx, q, tenant, t.Range, s)
			if err == nil {
				err = t.Record(ctx, q, t.ID, "service", s.ID, "Created", "")
			}
			return s.ID, made, err
		}, func(id uuid.UUID) (service.Service, error) { return t.read(ctx, q, id) })
		return err
	})
	return made, err
}

// Get returns a service. Codes: not_found.
func (t Tenant) Get(ctx context.Context, id uuid.UUID) (s service.Service, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		s, err = t.read(ctx, q, id)
		return err
	})
	return s, err
}

func (t Tenant) read(ctx context.Context, q *db.Queries, id uuid.UUID) (service.Service, error) {
	row, err := q.ServiceByID(ctx, db.ServiceByIDParams{TenantID: t.ID, ID: id})
	if err != nil {
		return service.Service{}, pgerr.NotFound(err, "service")
	}
	return one(ctx, q, row)
}

// List lists services, oldest first. A nil name selects all, and so does a nil selector. Codes: invalid (cursor).
func (t Tenant) List(ctx context.Context, page cursor.Page, name *string, labels husk.Selector) (items []service.Service, next string, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		items, next, err = cursor.Read(page, func(after cursor.Position, limit int) ([]db.Service, error) {
			return q.Services(ctx, db.ServicesParams{TenantID: t.ID, AfterTime: after.At, AfterID: after.ID, Name: name, Selector: convert.Selector(labels), Max: limit})
		}, convertService, func(s service.Service) (time.Time, uuid.UUID) { return s.CreatedAt, s.ID })
		if err != nil || len(items) == 0 {
			return err
		}
		pods, err := readPods(ctx, q, []uuid.UUID{t.ID})
		for i := range items {
			items[i] = items[i].WithEndpoints(pods)
		}
		return err
	})
	return items, next, err
}

// Update changes labels, and what change changes. Codes: not_found, invalid, precondition_failed, and those of change.
func (t Tenant) Update(ctx context.Context, id uuid.UUID, labels map[string]*string, change func(service.Service) (service.Service, error)) (now service.Service, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil { // because of security groups
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.lock(ctx, q, id)
		if err != nil {
			return err
		}
		was.Ports = slices.Clone(was.Ports)
		if now, err = change(was); err != nil {
			return err
		}
		if now = now.Complete(); now.Check() != nil {
			return now.Check()
		}
		if err := admission.Groups(ctx, q, t.ID, now.SecurityGroups, "securityGroups"); err != nil {
			return err
		}
		all, err := lifecycle.Labels(was.Labels, labels, "labels")
		if err != nil {
			return err
		}
		row, err := q.UpdateService(ctx, db.UpdateServiceParams{
			TenantID: t.ID, ID: id, Labels: all, Selector: now.Selector, Ports: now.Ports, AffinitySeconds: now.AffinityTimeoutSeconds,
			SecurityGroups: append([]string{}, now.SecurityGroups...),
		})
		if err != nil {
			return err
		}
		if now, err = one(ctx, q, row); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "service", id, "Changed", "")
	})
	return now, err
}

// Delete deletes a service. Codes: not_found, precondition_failed.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID) error {
	return t.Do(ctx, func(q *db.Queries) error {
		if _, err := t.lock(ctx, q, id); err != nil {
			return err
		}
		if err := q.RemoveService(ctx, db.RemoveServiceParams{TenantID: t.ID, ID: id}); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "service", id, "Deleted", "")
	})
}

// lock returns a service that the transaction will change, in the version that the caller expects.
func (t Tenant) lock(ctx context.Context, q *db.Queries, id uuid.UUID) (service.Service, error) {
	row, err := q.LockService(ctx, db.LockServiceParams{TenantID: t.ID, ID: id})
	if err != nil {
		return service.Service{}, pgerr.NotFound(err, "service")
	}
	s, err := one(ctx, q, row)
	if err != nil {
		return s, err
	}
	return s, t.IfMatch(ctx, s)
}
