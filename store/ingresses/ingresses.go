// SPDX-License-Identifier: Apache-2.0

// Package ingresses stores ingresses, in transactions of package store. Package store/edge has what the processes that serve them read and write.
package ingresses

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/ingress"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/lifecycle"
	"husk/store/pgerr"
	"husk/store/repeats"
	"husk/store/services"
)

// Tenant is the access of a tenant's caller to ingresses.
type Tenant struct {
	ID      uuid.UUID
	Public  ingress.Public
	Do      func(ctx context.Context, f func(q *db.Queries) error) error // runs a transaction
	IfMatch func(ctx context.Context, object any) error                  // refuses if the caller expects another version
	Record  func(ctx context.Context, q *db.Queries, tenant uuid.UUID, kind string, id uuid.UUID, reason, message string) error
}

// Create stores an ingress. Codes: invalid, quota_exceeded, name_taken, conflict (a host is taken), idempotency_mismatch.
func (t Tenant) Create(ctx context.Context, key repeats.Key, i ingress.Ingress) (made ingress.Ingress, _ error) {
	i = i.Complete()
	if err := i.Check(t.Public.Reserved); err != nil {
		return i, err
	}
	err := t.Do(ctx, func(q *db.Queries) error {
		tenant, err := q.LockTenant(ctx, t.ID)
		if err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		made, err = repeats.Once(ctx, q, t.ID, key, func() (uuid.UUID, ingress.Ingress, error) {
			i.ID = uuid.New()
			made, err := t.insert(ctx, q, tenant, i)
			if err == nil {
				err = t.Record(ctx, q, t.ID, "ingress", i.ID, "Created", "")
			}
			return i.ID, made, err
		}, func(id uuid.UUID) (ingress.Ingress, error) { return t.read(ctx, q, id) })
		return err
	})
	return made, err
}

func (t Tenant) insert(ctx context.Context, q *db.Queries, tenant db.Tenant, i ingress.Ingress) (ingress.Ingress, error) {
	used, err := q.IngressUse(ctx, t.ID)
	if err == nil {
		err = admission.Quota("", "ingresses", used, 1, tenant.QuotaIngresses)
	}
	if err != nil {
		return i, err
	}
	row, err := q.InsertIngress(ctx, db.InsertIngressParams{TenantID: t.ID, ID: i.ID, Name: i.Name, Labels: i.Labels, Rules: i.Rules, HstsSeconds: i.HSTSSeconds})
	if pgerr.UniqueViolation(err, "ingresses_tenant_id_name_key") {
		return i, husk.Errorf(husk.CodeNameTaken, "name", "an ingress named %q exists already", i.Name)
	}
	if err != nil {
		return i, err
	}
	if err := t.takeHosts(ctx, q, i); err != nil {
		return i, err
	}
	return t.one(ctx, q, row)
}

// takeHosts makes the hosts and services of an ingress those of its rules.
func (t Tenant) takeHosts(ctx context.Context, q *db.Queries, i ingress.Ingress) error {
	hosts := i.Hosts()
	if err := q.RemoveIngressHosts(ctx, db.RemoveIngressHostsParams{TenantID: t.ID, IngressID: i.ID, Hosts: hosts}); err != nil {
		return err
	}
	have, err := q.IngressHosts(ctx, db.IngressHostsParams{TenantID: t.ID, IngressID: &i.ID})
	if err != nil {
		return err
	}
	for _, host := range hosts { // sorted, so that two tenants who want the same ones do not wait for each other
		if slices.ContainsFunc(have, func(h db.IngressHost) bool { return h.Host == host }) {
			continue
		}
		n, err := q.InsertIngressHost(ctx, db.InsertIngressHostParams{Host: host, TenantID: t.ID, IngressID: i.ID})
		if err != nil {
			return err
		}
		if n == 0 {
			return husk.Errorf(husk.CodeConflict, "rules", "another ingress has the host %s, of this tenant or of another one; delete its rule there first", host)
		}
	}
	if err := q.AddIngressServices(ctx, db.AddIngressServicesParams{TenantID: t.ID, Services: i.Services()}); err != nil {
		return err
	}
	return q.RemoveIngressServices(ctx, t.ID)
}

// Get returns an ingress. Codes: not_found.
func (t Tenant) Get(ctx context.Context, id uuid.UUID) (i ingress.Ingress, _ error) {
	err := t.Do(ctx, func(q *db.Queries) (err error) {
		i, err = t.read(ctx, q, id)
		return err
	})
	return i, err
}

func (t Tenant) read(ctx context.Context, q *db.Queries, id uuid.UUID) (ingress.Ingress, error) {
	row, err := q.IngressByID(ctx, db.IngressByIDParams{TenantID: t.ID, ID: id})
	if err != nil {
		return ingress.Ingress{}, pgerr.NotFound(err, "ingress")
	}
	return t.one(ctx, q, row)
}

// one adds the hosts to an ingress.
func (t Tenant) one(ctx context.Context, q *db.Queries, row db.Ingress) (ingress.Ingress, error) {
	hosts, err := q.IngressHosts(ctx, db.IngressHostsParams{TenantID: t.ID, IngressID: &row.ID})
	return t.convert(row, hosts), err
}

func (t Tenant) convert(r db.Ingress, hosts []db.IngressHost) ingress.Ingress {
	i := ingress.Ingress{ID: r.ID, TenantID: r.TenantID, Name: r.Name, Labels: r.Labels, Rules: r.Rules, HSTSSeconds: r.HstsSeconds, CreatedAt: r.CreatedAt}
	i.Status = ingress.Status{Addresses: append([]string{}, t.Public.Addresses...), Hosts: []ingress.Host{}}
	for _, h := range hosts {
		if h.IngressID == r.ID {
			i.Status.Hosts = append(i.Status.Hosts, ingress.HostOf(h.Host, h.ExpiresAt, h.Message, time.Now()))
		}
	}
	return i.Complete()
}

// List lists ingresses, oldest first. A nil name selects all, and so does a nil selector. Codes: invalid (cursor).
func (t Tenant) List(ctx context.Context, page cursor.Page, name *string, labels husk.Selector) (items []ingress.Ingress, next string, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		hosts, err := q.IngressHosts(ctx, db.IngressHostsParams{TenantID: t.ID})
		if err != nil {
			return err
		}
		items, next, err = cursor.Read(page, func(after cursor.Position, limit int) ([]db.Ingress, error) {
			return q.Ingresses(ctx, db.IngressesParams{TenantID: t.ID, AfterTime: after.At, AfterID: after.ID, Name: name, Selector: convert.Selector(labels), Max: limit})
		}, func(r db.Ingress) ingress.Ingress { return t.convert(r, hosts) }, func(i ingress.Ingress) (time.Time, uuid.UUID) { return i.CreatedAt, i.ID })
		return err
	})
	return items, next, err
}

// Update changes labels, and what change changes. Codes: not_found, invalid, conflict (a host is taken), precondition_failed, and those of change.
func (t Tenant) Update(ctx context.Context, id uuid.UUID, labels map[string]*string, change func(ingress.Ingress) (ingress.Ingress, error)) (now ingress.Ingress, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil { // because the tenant's other ingresses may name the same services
			return pgerr.NotFound(err, "tenant")
		}
		was, err := t.lock(ctx, q, id)
		if err != nil {
			return err
		}
		if now, err = change(was); err != nil {
			return err
		}
		if now = now.Complete(); now.Check(t.Public.Reserved) != nil {
			return now.Check(t.Public.Reserved)
		}
		all, err := lifecycle.Labels(was.Labels, labels, "labels")
		if err != nil {
			return err
		}
		row, err := q.UpdateIngress(ctx, db.UpdateIngressParams{TenantID: t.ID, ID: id, Labels: all, Rules: now.Rules, HstsSeconds: now.HSTSSeconds})
		if err != nil {
			return err
		}
		if err := t.takeHosts(ctx, q, now); err != nil {
			return err
		}
		if now, err = t.one(ctx, q, row); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "ingress", id, "Changed", "")
	})
	return now, err
}

// Delete deletes an ingress. Codes: not_found, precondition_failed.
func (t Tenant) Delete(ctx context.Context, id uuid.UUID) error {
	return t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.LockTenant(ctx, t.ID); err != nil {
			return pgerr.NotFound(err, "tenant")
		}
		if _, err := t.lock(ctx, q, id); err != nil {
			return err
		}
		if err := q.RemoveIngress(ctx, db.RemoveIngressParams{TenantID: t.ID, ID: id}); err != nil {
			return err
		}
		if err := q.RemoveIngressServices(ctx, t.ID); err != nil {
			return err
		}
		return t.Record(ctx, q, t.ID, "ingress", id, "Deleted", "")
	})
}

// Requests returns the latest requests of an ingress, of those after one, oldest first. Codes: not_found.
func (t Tenant) Requests(ctx context.Context, id uuid.UUID, after int64, limit int) (requests []ingress.Request, _ error) {
	err := t.Do(ctx, func(q *db.Queries) error {
		if _, err := q.IngressByID(ctx, db.IngressByIDParams{TenantID: t.ID, ID: id}); err != nil {
			return pgerr.NotFound(err, "ingress")
		}
		rows, err := q.IngressRequests(ctx, db.IngressRequestsParams{TenantID: t.ID, IngressID: id, After: after, Max: limit})
		slices.Reverse(rows)
		requests = convert.All(rows, func(r db.IngressRequestsRow) ingress.Request {
			r.Request.ID, r.Request.At = r.ID, r.At
			return r.Request
		})
		return err
	})
	return requests, err
}

// lock returns an ingress that the transaction will change, in the version that the caller expects.
func (t Tenant) lock(ctx context.Context, q *db.Queries, id uuid.UUID) (ingress.Ingress, error) {
	row, err := q.LockIngress(ctx, db.LockIngressParams{TenantID: t.ID, ID: id})
	if err != nil {
		return ingress.Ingress{}, pgerr.NotFound(err, "ingress")
	}
	i, err := t.one(ctx, q, row)
	if err != nil {
		return i, err
	}
	return i, t.IfMatch(ctx, i)
}

// Address gives the services of these tenants, or of all if the list is nil, their addresses in the ingress range.
func Address(ctx context.Context, q *db.Queries, tenants []uuid.UUID, all []services.Balanced) error {
	rows, err := q.IngressServiceAddresses(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return err
	}
	type of struct {
		tenant  uuid.UUID
		service string
	}
	at := make(map[of]netip.Addr, len(rows))
	for _, r := range rows {
		at[of{r.TenantID, r.Service}] = r.Address
	}
	for i := range all {
		all[i].Ingress = at[of{all[i].TenantID, all[i].Name}]
	}
	return nil
}

// Assign gives services that ingresses name addresses of a range, at most limit at once. exhausted means that there are too few.
func Assign(ctx context.Context, q *db.Queries, first, last netip.Addr, limit int) (exhausted bool, err error) {
	missing, err := q.IngressServicesWithoutAddress(ctx, limit)
	if err != nil {
		return false, err
	}
	for _, m := range missing {
		address, err := q.FreeIngressAddress(ctx, db.FreeIngressAddressParams{First: first, Last: last})
		if errors.Is(err, pgx.ErrNoRows) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if err := q.SetIngressAddress(ctx, db.SetIngressAddressParams{TenantID: m.TenantID, Service: m.Service, Address: address}); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Metrics reads what has passed the ingresses of these tenants, and how long their certificates are valid.
func Metrics(ctx context.Context, q *db.Queries, tenants []uuid.UUID) (map[uuid.UUID][]husk.IngressMetrics, error) {
	rows, err := q.IngressTrafficOf(ctx, tenants)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	hosts, err := q.IngressHostsOf(ctx, tenants)
	if err != nil {
		return nil, err
	}
	of := map[uuid.UUID][]husk.IngressMetrics{}
	for _, r := range rows {
		m := husk.IngressMetrics{
			Name: r.Name, Requests: [5]int64{r.Informational, r.Successful, r.Redirected, r.Refused, r.Failed}, Limited: r.Limited, ReceivedBytes: r.ReceivedBytes, SentBytes: r.SentBytes,
		}
		for _, h := range hosts {
			if h.TenantID == r.TenantID && h.Name == r.Name {
				m.Certificates = append(m.Certificates, husk.CertificateMetrics{Host: h.Host, ExpiresAt: h.ExpiresAt})
			}
		}
		of[r.TenantID] = append(of[r.TenantID], m)
	}
	return of, nil
}
