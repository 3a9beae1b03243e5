// SPDX-License-Identifier: Apache-2.0

// Package addresses stores floating addresses, in transactions of package store. A transaction that changes an address locks the tenant first, then
// the pods and services to which the address leads, and then the address: a pod or service that is deleted locks itself first, too.
package addresses

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/service/address"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// Tenant is the access of a tenant's caller to floating addresses.
type Tenant struct {
	ID      uuid.UUID
	Range   address.Range                                                // from which addresses come
	Do      func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	IfMatch func(ctx context.Context, object any) error                  // refuses if the caller expects another version
	Record  func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

// Create takes an address from the range. Codes: quota_exceeded, name_taken, not_found (target), conflict, idempotency_mismatch.
func (t Tenant) Create(ctx context.Context, key repeats.Key, a address.Address) (made address.Address, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		tenant, err := q.LockTenant(ctx, t.ID)
		if err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		made, err = repeats.Once(ctx, q, t.ID, key, func() (uuid.UUID, address.Address, error) {
			a.ID = uuid.New()
			made, err := t.insert(ctx, q, tenant, a)
			if err == nil {
				err = t.Record(ctx, q, t.ID, "address", a.ID, "Created", made.Status.Address)
			}
			return a.ID, made, err
		}, func(id uuid.UUID) (address.Address, error) { return t.read(ctx, q, id) })
		return err
	})
	return made, err
}

func (t Tenant) insert(ctx context.Context, q *db.Queries, tenant db.Tenant, a address.Address) (address.Address, error) {
	used, err := q.AddressUse(ctx, t.ID)
	if err == nil {
		err = admission.Quota("", "floating addresses", used, 1, tenant.QuotaFloating)
	}
	if err != nil {
		return a, err
	}
	if !t.Range.Valid() {
		return a, husk.Errorf(husk.CodeConflict, "", "this installation has no floating addresses; an operator adds them with --floating-addresses")
	}
	if err := t.lockTargets(ctx, q, a.Target, nil); err != nil {
		return a, err
	}
	if err := t.check(ctx, q, a); err != nil {
		return a, err
	}
	free, err := q.TakeAddress(ctx, db.TakeAddressParams{First: t.Range.First, Last: t.Range.Last})
	if errors.Is(err, pgx.ErrNoRows) {
		return a, husk.Errorf(husk.CodeQuotaExceeded, "", "all floating addresses are in use; delete one of yours, or ask an operator to add some")
	}
	if err != nil {
		return a, err
	}
	p := db.InsertAddressParams{TenantID: t.ID, ID: a.ID, Name: a.Name, Labels: a.Labels, Address: free}
	p.ServiceID, p.PodID, p.Ports, p.OwnerServiceID, p.OwnerPodID = columns(a)
	_, err = q.InsertAddress(ctx, p)
	if pgerr.UniqueViolation(err, "addresses_tenant_id_name_key") {
		return a, husk.Errorf(husk.CodeNameTaken, "name", "a floating address named %q exists already", a.Name)
	}
	if err != nil {
		return a, err
	}
	return t.read(ctx, q, a.ID)
}

// columns returns what the row of an address says about its target.
func columns(a address.Address) (service, pod *uuid.UUID, ports []address.Port, ownerService, ownerPod *uuid.UUID) {
	ports = []address.Port{}
	if a.Target == nil {
		return nil, nil, ports, nil, nil
	}
	service, pod = a.Target.ServiceID, a.Target.PodID
	ports = append(ports, a.Target.Ports...)
	if a.DeleteWithTarget {
		ownerService, ownerPod = service, pod
	}
	return service, pod, ports, ownerService, ownerPod
}

// lockTargets locks the pods and services to which an address leads now or has led before. Codes: not_found (now).
func (t Tenant) lockTargets(ctx context.Context, q *db.Queries, now, before *address.Target) error {
	var pods []uuid.UUID
	for _, target := range []*address.Target{now, before} {
		if target != nil && target.PodID != nil && !slices.Contains(pods, *target.PodID) {
			pods = append(pods, *target.PodID)
		}
	}
	slices.SortFunc(pods, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range pods {
		_, err := q.LockPod(ctx, db.LockPodParams{TenantID: t.ID, ID: id})
		if errors.Is(err, pgx.ErrNoRows) && now != nil && now.PodID != nil && *now.PodID == id {
			return husk.Errorf(husk.CodeNotFound, "target.podId", "no such pod")
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	if now == nil || now.ServiceID == nil {
		return nil
	}
	_, err := q.LockService(ctx, db.LockServiceParams{TenantID: t.ID, ID: *now.ServiceID})
	if errors.Is(err, pgx.ErrNoRows) {
		return husk.Errorf(husk.CodeNotFound, "target.serviceId", "no such service")
	}
	return err
}

// check refuses a target that does not allow the address. Its rows are locked. Codes: invalid, conflict.
func (t Tenant) check(ctx context.Context, q *db.Queries, a address.Address) error {
	switch {
	case a.Target == nil:
		return nil
	case a.Target.ServiceID != nil:
		s, err := q.ServiceByID(ctx, db.ServiceByIDParams{TenantID: t.ID, ID: *a.Target.ServiceID})
		if err == nil && s.Address == nil {
			return husk.Errorf(husk.CodeInvalid, "target.serviceId", "the service %s is headless, so it has no ports; use a service that is not", s.Name)
		}
		return err
	}
	pod, err := q.Pod(ctx, db.PodParams{TenantID: t.ID, ID: *a.Target.PodID})
	if err != nil {
		return pgerr.NotFound(err, "pod")
	}
	if _, ok := convert.Routed(pod); !ok {
		return husk.Errorf(husk.CodeInvalid, "target.podId", "the pod %s is only in isolated networks, which nothing outside reaches", pod.Name)
	}
	if len(a.Target.Ports) == 0 { // its own connections can leave with one address only
		others, err := q.WholePodAddresses(ctx, db.WholePodAddressesParams{TenantID: t.ID, PodID: *a.Target.PodID, ID: a.ID})
		if err == nil && others > 0 {
			return husk.Errorf(husk.CodeConflict, "target", "another floating address has all ports of this pod; unbind it first, or name the ports")
		}
		return err
	}
	return nil
}

// Get returns an address. Codes: not_found.
func (t Tenant) Get(ctx context.Context, id uuid.UUID) (a address.Address, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		a, err = t.read(ctx, q, id)
		return err
	})
	return a, err
}

func (t Tenant) read(ctx context.Context, q *db.Queries, id uuid.UUID) (address.Address, error) {
	row, err := q.AddressByID(ctx, db.AddressByIDParams{TenantID: t.ID, ID: id})
	return convertAddress(row.Address, row.Target), pgerr.NotFound(err, "address")
}

// List lists addresses, oldest first. A nil name selects all, and so does a nil selector. Codes: invalid (cursor).
func (t Tenant) List(ctx context.Context, page cursor.Page, name *string, labels husk.Selector) (items []address.Address, next string, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		items, next, err = cursor.Read(page, func(after cursor.Position, limit int) ([]db.AddressesRow, error) {
			return q.Addresses(ctx, db.AddressesParams{TenantID: t.ID, AfterTime: after.At, AfterID: after.ID, Name: name, Selector: convert.Selector(labels), Max: limit})
		}, func(r db.AddressesRow) address.Address { return convertAddress(r.Address, r.Target) }, func(a address.Address) (time.Time, uuid.UUID) { return a.CreatedAt, a.ID })
		return err
	})
	return items, next, err
}

// Update changes labels, and what change changes. Codes: not_found, invalid, conflict, precondition_failed.
func (t Tenant) Update(ctx context.Context, id uuid.UUID, labels map[string]*string, change func(address.Address) address.Address) (now address.Address, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.read(ctx, q, id)
		if err != nil {
			return err
		}
		if now = change(was).Complete(); now.Check() != nil {
			return now.Check()
		}
		if err := t.lockTargets(ctx, q, now.Target, was.Target); err != nil {
			return err
		}
		if was, err = t.lock(ctx, q, id); err != nil {
			return err
		}
		if err := t.check(ctx, q, now); err != nil {
			return err
		}
		all, err := lifecycle.Labels(was.Labels, labels, "labels")
		if err != nil {
			return err
		}
		p := db.UpdateAddressParams{TenantID: t.ID, ID: id, Labels: all}
		p.ServiceID, p.PodID, p.Ports, p.OwnerServiceID, p.OwnerPodID = columns(now)
		if err := q.UpdateAddress(ctx, p); err != nil {
			return err
		}
		if now, err = t.read(ctx, q, id); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "address", id, "Changed", "")
	})
	return now, err
}

// Delete gives an address back. Codes: not_found, precondition_failed.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID) error {
	return t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.read(ctx, q, id)
		if err != nil {
			return err
		}
		if err := t.lockTargets(ctx, q, nil, was.Target); err != nil {
			return err
		}
		if _, err := t.lock(ctx, q, id); err != nil {
			return err
		}
		if err := q.RemoveAddress(ctx, db.RemoveAddressParams{TenantID: t.ID, ID: id}); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "address", id, "Deleted", was.Status.Address)
	})
}

// lock returns an address that the transaction will change, in the version that the caller expects.
func (t Tenant) lock(ctx context.Context, q *db.Queries, id uuid.UUID) (address.Address, error) {
	if err := q.LockAddress(ctx, db.LockAddressParams{TenantID: t.ID, ID: id}); err != nil {
		return address.Address{}, err
	}
	a, err := t.read(ctx, q, id)
	if err != nil {
		return a, err
	}
	return a, t.IfMatch(ctx, a)
}

func convertAddress(r db.Address, target string) address.Address {
	a := address.Address{
		ID: r.ID, TenantID: r.TenantID, Name: r.Name, Labels: r.Labels, DeleteWithTarget: r.OwnerServiceID != nil || r.OwnerPodID != nil,
		Status: address.Status{Address: r.Address.String(), TargetName: target}, CreatedAt: r.CreatedAt,
	}
	if r.ServiceID != nil || r.PodID != nil {
		a.Target = &address.Target{ServiceID: r.ServiceID, PodID: r.PodID, Ports: r.Ports}
	}
	return a
}

// Bound is an address with a target, as OVN needs it.
type Bound struct {
	ID, TenantID uuid.UUID
	Address      netip.Addr
	ServiceID    *uuid.UUID
	Pod          netip.Addr     // the pod's address, if there is no service
	Ports        []address.Port // none: all of the pod
}

// All returns the addresses of tenants that have a target.
func All(ctx context.Context, q *db.Queries, tenants []uuid.UUID) ([]Bound, error) {
	rows, err := q.AddressesOfTenants(ctx, tenants)
	return convert.All(rows, func(r db.AddressesOfTenantsRow) Bound {
		b := Bound{ID: r.ID, TenantID: r.TenantID, Address: r.Address, ServiceID: r.ServiceID, Ports: r.Ports}
		if r.PodAddress != nil {
			b.Pod, _ = convert.Routed(db.Pod{Address: *r.PodAddress, Interfaces: r.PodInterfaces})
		}
		return b
	}), err
}

// Count returns how many addresses of a range are in use.
func Count(ctx context.Context, q *db.Queries, r address.Range) (int64, error) {
	if !r.Valid() {
		return 0, nil
	}
	return q.AddressesTaken(ctx, db.AddressesTakenParams{First: r.First, Last: r.Last})
}
