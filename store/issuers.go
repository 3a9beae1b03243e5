package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// platform stands for no tenant: what belongs to the installation itself.
var platform = uuid.Nil

func issuerOf(i db.OidcIssuer) husk.OIDCIssuer {
	out := husk.OIDCIssuer{ID: i.ID, Name: i.Name, Issuer: i.Issuer, ClientID: i.ClientID, RoleMappings: i.RoleMappings, CreatedAt: i.CreatedAt}
	if i.TenantID != nil {
		out.TenantID = *i.TenantID
	}
	return out
}

// inOwner runs a transaction of a tenant, or of control for what is the installation's. lock orders the owner's orders.
func inOwner[T any](ctx context.Context, s *Store, tenantID ID, lock bool, f func(q *db.Queries, owner *ID) (T, error)) (T, error) {
	if tenantID == platform {
		return inControl(ctx, s, func(q *db.Queries) (T, error) {
			if lock {
				if err := q.LockOperators(ctx); err != nil {
					var zero T
					return zero, err
				}
			}
			return f(q, nil)
		})
	}
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (T, error) {
		if lock {
			if _, err := q.LockTenant(ctx, tenantID); err != nil {
				var zero T
				return zero, orNotFound(err, "tenant")
			}
		}
		return f(q, &tenantID)
	})
}

// CreateIssuer trusts an OIDC issuer, for a tenant or, with the zero id, for the installation. Codes: name_taken, not_found (a tenant
// in a mapping), quota_exceeded, idempotency_mismatch.
func (s *Store) CreateIssuer(ctx context.Context, tenantID ID, idem Idempotency, issuer husk.OIDCIssuer) (husk.OIDCIssuer, error) {
	return inOwner(ctx, s, tenantID, true, func(q *db.Queries, owner *ID) (husk.OIDCIssuer, error) {
		return creating(ctx, q, tenantID, idem, func() (ID, husk.OIDCIssuer, error) {
			id := uuid.New()
			if err := checkMappings(ctx, q, issuer.RoleMappings); err != nil {
				return id, husk.OIDCIssuer{}, err
			}
			if n, err := q.CountOIDCIssuers(ctx, owner); err != nil {
				return id, husk.OIDCIssuer{}, err
			} else if err := checkQuota("", "OIDC issuers", n, 1, maxIssuers); err != nil {
				return id, husk.OIDCIssuer{}, err
			}
			row, err := q.InsertOIDCIssuer(ctx, db.InsertOIDCIssuerParams{
				ID: id, TenantID: owner, Name: issuer.Name, Issuer: issuer.Issuer, ClientID: issuer.ClientID, RoleMappings: issuer.RoleMappings,
			})
			switch {
			case uniqueViolation(err, "oidc_issuers_name"):
				return id, husk.OIDCIssuer{}, husk.Errorf(husk.CodeNameTaken, "name", "an issuer named %q exists already", issuer.Name)
			case uniqueViolation(err, "oidc_issuers_issuer"):
				return id, husk.OIDCIssuer{}, husk.Errorf(husk.CodeNameTaken, "issuer", "%s with the client id %q is trusted already", issuer.Issuer, issuer.ClientID)
			case err != nil:
				return id, husk.OIDCIssuer{}, err
			}
			return id, issuerOf(row), audit(ctx, q, tenantID, "oidcIssuer", id.String())
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
			if husk.CodeOf(orNotFound(err, "tenant")) == husk.CodeNotFound {
				return husk.Errorf(husk.CodeNotFound, fmt.Sprintf("roleMappings[%d].tenantId", i), "there is no such tenant")
			}
			return err
		}
	}
	return nil
}

// Issuer returns an issuer. Codes: not_found.
func (s *Store) Issuer(ctx context.Context, tenantID, id ID) (husk.OIDCIssuer, error) {
	return inOwner(ctx, s, tenantID, false, func(q *db.Queries, owner *ID) (husk.OIDCIssuer, error) {
		row, err := q.OIDCIssuer(ctx, db.OIDCIssuerParams{TenantID: owner, ID: id})
		return issuerOf(row), orNotFound(err, "issuer")
	})
}

// Issuers lists, oldest first. Codes: invalid (cursor).
func (s *Store) Issuers(ctx context.Context, tenantID ID, page Page) ([]husk.OIDCIssuer, string, error) {
	l, err := inOwner(ctx, s, tenantID, false, func(q *db.Queries, owner *ID) (l list[husk.OIDCIssuer], err error) {
		l.items, l.next, err = paged(page, func(after position, limit int) ([]db.OidcIssuer, error) {
			return q.OIDCIssuers(ctx, db.OIDCIssuersParams{TenantID: owner, AfterTime: after.at, AfterID: after.id, Max: limit})
		}, issuerOf, func(i husk.OIDCIssuer) (time.Time, ID) { return i.CreatedAt, i.ID })
		return l, err
	})
	return l.items, l.next, err
}

// SetRoleMappings replaces an issuer's mappings; they count from the next login. Codes: not_found, precondition_failed.
func (s *Store) SetRoleMappings(ctx context.Context, tenantID, id ID, mappings []husk.RoleMapping) (husk.OIDCIssuer, error) {
	return inOwner(ctx, s, tenantID, false, func(q *db.Queries, owner *ID) (husk.OIDCIssuer, error) {
		if _, err := lockIssuer(ctx, q, owner, id); err != nil {
			return husk.OIDCIssuer{}, err
		}
		if err := checkMappings(ctx, q, mappings); err != nil {
			return husk.OIDCIssuer{}, err
		}
		row, err := q.SetRoleMappings(ctx, db.SetRoleMappingsParams{TenantID: owner, ID: id, RoleMappings: mappings})
		if err != nil {
			return husk.OIDCIssuer{}, err
		}
		return issuerOf(row), audit(ctx, q, tenantID, "oidcIssuer", id.String())
	})
}

// DeleteIssuer trusts an issuer no more and forgets the users for whom nobody vouches any more. Codes: not_found, precondition_failed.
func (s *Store) DeleteIssuer(ctx context.Context, tenantID, id ID) error {
	_, err := inOwner(ctx, s, tenantID, true, func(q *db.Queries, owner *ID) (struct{}, error) {
		row, err := lockIssuer(ctx, q, owner, id)
		if err != nil {
			return struct{}{}, err
		}
		if err := q.DeleteOIDCIssuer(ctx, id); err != nil {
			return struct{}{}, err
		}
		if err := q.DeleteUsersOfIssuer(ctx, db.DeleteUsersOfIssuerParams{Issuer: row.Issuer, TenantID: owner}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, audit(ctx, q, tenantID, "oidcIssuer", id.String())
	})
	return err
}

func lockIssuer(ctx context.Context, q *db.Queries, owner *ID, id ID) (db.OidcIssuer, error) {
	row, err := q.LockOIDCIssuer(ctx, db.LockOIDCIssuerParams{TenantID: owner, ID: id})
	if err != nil {
		return row, orNotFound(err, "issuer")
	}
	return row, ifMatch(ctx, issuerOf(row))
}
