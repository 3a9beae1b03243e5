// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/access"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/repeats"
)

// maxIssuers is a fixed limit, like those in package access.
const maxIssuers = 20

// platform is the tenant id of objects that belong to the installation itself.
var platform = uuid.Nil

// issuers are the OIDC issuers of one owner: of a tenant, or of the installation if tenant is nil.
type issuers struct {
	*core
	tenant *Tenant
}

func (t Tenant) issuers() issuers { return issuers{t.core, &t} }

func (c Control) issuers() issuers { return issuers{c.core, nil} }

// id returns the owner's id in the tables. The installation has NULL there.
func (o issuers) id() *ID {
	if o.tenant == nil {
		return nil
	}
	return &o.tenant.id
}

// tenantID returns the owner's id, and the zero id for the installation.
func (o issuers) tenantID() ID {
	if o.tenant == nil {
		return platform
	}
	return o.tenant.id
}

// inOwner runs a transaction of the owner. With lock, it also takes the lock that serializes the owner's requests.
func inOwner[T any](ctx context.Context, o issuers, lock bool, f func(q *db.Queries) (T, error)) (T, error) {
	var zero T
	if o.tenant == nil {
		return inControl(ctx, Control{o.core, o.pools.Control}, func(q *db.Queries) (T, error) {
			if lock {
				if err := q.LockOperators(ctx); err != nil {
					return zero, err
				}
			}
			return f(q)
		})
	}
	return inTenant(ctx, *o.tenant, func(q *db.Queries) (T, error) {
		if lock {
			if _, err := q.LockTenant(ctx, o.tenant.id); err != nil {
				return zero, pgerr.NotFound(err, "tenant")
			}
		}
		return f(q)
	})
}

// CreateIssuer makes the tenant trust an OIDC issuer. Codes: name_taken, quota_exceeded, idempotency_mismatch.
func (t Tenant) CreateIssuer(ctx context.Context, idem Idempotency, issuer husk.OIDCIssuer) (husk.OIDCIssuer, error) {
	return t.issuers().create(ctx, idem, issuer)
}

// CreateIssuer makes the installation trust an OIDC issuer. Codes: name_taken, not_found (a tenant in a mapping), quota_exceeded,
// idempotency_mismatch.
func (c Control) CreateIssuer(ctx context.Context, idem Idempotency, issuer husk.OIDCIssuer) (husk.OIDCIssuer, error) {
	return c.issuers().create(ctx, idem, issuer)
}

// Issuer returns one of the tenant's issuers. Codes: not_found.
func (t Tenant) Issuer(ctx context.Context, id ID) (husk.OIDCIssuer, error) {
	return t.issuers().one(ctx, id)
}

// Issuer returns one of the installation's issuers. Codes: not_found.
func (c Control) Issuer(ctx context.Context, id ID) (husk.OIDCIssuer, error) {
	return c.issuers().one(ctx, id)
}

// Issuers lists the tenant's issuers, oldest first. Codes: invalid (cursor).
func (t Tenant) Issuers(ctx context.Context, page Page) ([]husk.OIDCIssuer, string, error) {
	return t.issuers().list(ctx, page)
}

// Issuers lists the installation's issuers, oldest first. Codes: invalid (cursor).
func (c Control) Issuers(ctx context.Context, page Page) ([]husk.OIDCIssuer, string, error) {
	return c.issuers().list(ctx, page)
}

// SetRoleMappings replaces the mappings of one of the tenant's issuers; they apply from the next login on. Codes: not_found,
// precondition_failed.
func (t Tenant) SetRoleMappings(ctx context.Context, id ID, mappings []husk.RoleMapping) (husk.OIDCIssuer, error) {
	return t.issuers().setRoleMappings(ctx, id, mappings)
}

// SetRoleMappings replaces the mappings of one of the installation's issuers. Codes: not_found, precondition_failed.
func (c Control) SetRoleMappings(ctx context.Context, id ID, mappings []husk.RoleMapping) (husk.OIDCIssuer, error) {
	return c.issuers().setRoleMappings(ctx, id, mappings)
}

// DeleteIssuer ends the tenant's trust in an issuer and removes the users that no other issuer vouches for. Codes: not_found,
// precondition_failed, last_owner.
func (t Tenant) DeleteIssuer(ctx context.Context, id ID) error { return t.issuers().remove(ctx, id) }

// DeleteIssuer ends the installation's trust in an issuer and removes the users that no other issuer vouches for. Codes: not_found,
// precondition_failed.
func (c Control) DeleteIssuer(ctx context.Context, id ID) error { return c.issuers().remove(ctx, id) }

func (o issuers) create(ctx context.Context, idem Idempotency, issuer husk.OIDCIssuer) (husk.OIDCIssuer, error) {
	return inOwner(ctx, o, true, func(q *db.Queries) (husk.OIDCIssuer, error) {
		return repeats.Once(ctx, q, o.tenantID(), idem, func() (ID, husk.OIDCIssuer, error) {
			id := uuid.New()
			if err := checkMappings(ctx, q, issuer.RoleMappings); err != nil {
				return id, husk.OIDCIssuer{}, err
			}
			if n, err := q.CountOIDCIssuers(ctx, o.id()); err != nil {
				return id, husk.OIDCIssuer{}, err
			} else if err := admission.Quota("", "OIDC issuers", n, 1, maxIssuers); err != nil {
				return id, husk.OIDCIssuer{}, err
			}
			row, err := q.InsertOIDCIssuer(ctx, db.InsertOIDCIssuerParams{
				ID: id, TenantID: o.id(), Name: issuer.Name, Issuer: issuer.Issuer, ClientID: issuer.ClientID, RoleMappings: issuer.RoleMappings,
			})
			switch {
			case pgerr.UniqueViolation(err, "oidc_issuers_name"):
				return id, husk.OIDCIssuer{}, husk.Errorf(husk.CodeNameTaken, "name", "an issuer named %q exists already", issuer.Name)
			case pgerr.UniqueViolation(err, "oidc_issuers_issuer"):
				return id, husk.OIDCIssuer{}, husk.Errorf(husk.CodeNameTaken, "issuer", "%s with the client id %q is trusted already", issuer.Issuer, issuer.ClientID)
			case err != nil:
				return id, husk.OIDCIssuer{}, err
			}
			return id, convert.Issuer(row), audit(ctx, q, o.tenantID(), "oidcIssuer", id.String())
		}, func(id ID) (husk.OIDCIssuer, error) {
			row, err := q.OIDCIssuer(ctx, db.OIDCIssuerParams{TenantID: o.id(), ID: id})
			return convert.Issuer(row), err
		})
	})
}

// checkMappings looks up the tenants that mappings of the installation's issuers name.
func checkMappings(ctx context.Context, q *db.Queries, mappings []husk.RoleMapping) error {
	for i, m := range mappings {
		if m.TenantID == nil {
			continue
		}
		if _, err := q.TenantName(ctx, *m.TenantID); err != nil {
			if husk.CodeOf(pgerr.NotFound(err, "tenant")) == husk.CodeNotFound {
				return husk.Errorf(husk.CodeNotFound, fmt.Sprintf("roleMappings[%d].tenantId", i), "there is no such tenant")
			}
			return err
		}
	}
	return nil
}

func (o issuers) one(ctx context.Context, id ID) (husk.OIDCIssuer, error) {
	return inOwner(ctx, o, false, func(q *db.Queries) (husk.OIDCIssuer, error) {
		row, err := q.OIDCIssuer(ctx, db.OIDCIssuerParams{TenantID: o.id(), ID: id})
		return convert.Issuer(row), pgerr.NotFound(err, "issuer")
	})
}

func (o issuers) list(ctx context.Context, page Page) ([]husk.OIDCIssuer, string, error) {
	l, err := inOwner(ctx, o, false, func(q *db.Queries) (list[husk.OIDCIssuer], error) {
		return readPage(q, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.OidcIssuer, error) {
			return q.OIDCIssuers(ctx, db.OIDCIssuersParams{TenantID: o.id(), AfterTime: after.At, AfterID: after.ID, Max: limit})
		}, convert.Issuer, func(i husk.OIDCIssuer) (time.Time, ID) { return i.CreatedAt, i.ID })
	})
	return l.items, l.next, err
}

func (o issuers) setRoleMappings(ctx context.Context, id ID, mappings []husk.RoleMapping) (husk.OIDCIssuer, error) {
	return inOwner(ctx, o, false, func(q *db.Queries) (husk.OIDCIssuer, error) {
		if _, err := lockIssuer(ctx, q, o.id(), id); err != nil {
			return husk.OIDCIssuer{}, err
		}
		if err := checkMappings(ctx, q, mappings); err != nil {
			return husk.OIDCIssuer{}, err
		}
		row, err := q.SetRoleMappings(ctx, db.SetRoleMappingsParams{TenantID: o.id(), ID: id, RoleMappings: mappings})
		if err != nil {
			return husk.OIDCIssuer{}, err
		}
		return convert.Issuer(row), audit(ctx, q, o.tenantID(), "oidcIssuer", id.String())
	})
}

func (o issuers) remove(ctx context.Context, id ID) error {
	_, err := inOwner(ctx, o, true, func(q *db.Queries) (struct{}, error) {
		row, err := lockIssuer(ctx, q, o.id(), id)
		if err != nil {
			return struct{}{}, err
		}
		remove := func() error {
			if err := q.DeleteOIDCIssuer(ctx, id); err != nil {
				return err
			}
			return q.DeleteUsersOfIssuer(ctx, db.DeleteUsersOfIssuerParams{Issuer: row.Issuer, TenantID: o.id()})
		}
		if o.tenant != nil {
			err = access.KeepOwner(ctx, q, o.tenant.id, remove)
		} else {
			err = remove() // operators can give every tenant an owner again
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, audit(ctx, q, o.tenantID(), "oidcIssuer", id.String())
	})
	return err
}

func lockIssuer(ctx context.Context, q *db.Queries, owner *ID, id ID) (db.OidcIssuer, error) {
	row, err := q.LockOIDCIssuer(ctx, db.LockOIDCIssuerParams{TenantID: owner, ID: id})
	if err != nil {
		return row, pgerr.NotFound(err, "issuer")
	}
	return row, ifMatch(ctx, convert.Issuer(row))
}
