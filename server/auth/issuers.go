// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"husk"
	"husk/idtoken"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// issuerOwner is the party that trusts an issuer: a tenant, or the installation.
type issuerOwner interface {
	// CreateIssuer: name_taken, not_found (a tenant in a mapping), quota_exceeded, idempotency_mismatch.
	CreateIssuer(ctx context.Context, idem store.Idempotency, issuer husk.OIDCIssuer) (husk.OIDCIssuer, error)
	// SetRoleMappings: not_found, precondition_failed.
	SetRoleMappings(ctx context.Context, id store.ID, mappings []husk.RoleMapping) (husk.OIDCIssuer, error)
}

func (a *Auth) tenant(ctx context.Context) store.Tenant {
	return a.store.Tenant(request.Of(ctx).Caller)
}

// ListOIDCIssuers lists the tenant's issuers.
func (a *Auth) ListOIDCIssuers(ctx context.Context, r openapi.ListOIDCIssuersRequestObject) (openapi.ListOIDCIssuersResponseObject, error) {
	issuers, next, err := a.tenant(ctx).Issuers(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.OIDCIssuer](issuers, next)
	return openapi.ListOIDCIssuers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateOIDCIssuer makes the tenant trust an issuer.
func (a *Auth) CreateOIDCIssuer(ctx context.Context, r openapi.CreateOIDCIssuerRequestObject) (openapi.CreateOIDCIssuerResponseObject, error) {
	issuer, err := a.createIssuer(ctx, a.tenant(ctx), request.Of(ctx).Caller.TenantID, r.Params.IdempotencyKey, *r.Body)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.CreateOIDCIssuer201JSONResponse{Body: body, Headers: openapi.CreateOIDCIssuer201ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// GetOIDCIssuer returns one issuer.
func (a *Auth) GetOIDCIssuer(ctx context.Context, r openapi.GetOIDCIssuerRequestObject) (openapi.GetOIDCIssuerResponseObject, error) {
	issuer, err := a.tenant(ctx).Issuer(ctx, r.IssuerID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.GetOIDCIssuer200JSONResponse{Body: body, Headers: openapi.GetOIDCIssuer200ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// UpdateOIDCIssuer replaces the role mappings.
func (a *Auth) UpdateOIDCIssuer(ctx context.Context, r openapi.UpdateOIDCIssuerRequestObject) (openapi.UpdateOIDCIssuerResponseObject, error) {
	issuer, err := a.updateIssuer(ctx, a.tenant(ctx), request.Of(ctx).Caller.TenantID, r.IssuerID, r.Body.RoleMappings)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.UpdateOIDCIssuer200JSONResponse{Body: body, Headers: openapi.UpdateOIDCIssuer200ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// DeleteOIDCIssuer ends the tenant's trust in an issuer.
func (a *Auth) DeleteOIDCIssuer(ctx context.Context, r openapi.DeleteOIDCIssuerRequestObject) (openapi.DeleteOIDCIssuerResponseObject, error) {
	return openapi.DeleteOIDCIssuer204Response{}, a.tenant(ctx).DeleteIssuer(ctx, r.IssuerID)
}

// AdminListOIDCIssuers lists the installation's issuers.
func (a *Auth) AdminListOIDCIssuers(ctx context.Context, r openapi.AdminListOIDCIssuersRequestObject) (openapi.AdminListOIDCIssuersResponseObject, error) {
	issuers, next, err := a.control.Issuers(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.OIDCIssuer](issuers, next)
	return openapi.AdminListOIDCIssuers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// AdminCreateOIDCIssuer makes the installation trust an issuer.
func (a *Auth) AdminCreateOIDCIssuer(ctx context.Context, r openapi.AdminCreateOIDCIssuerRequestObject) (openapi.AdminCreateOIDCIssuerResponseObject, error) {
	issuer, err := a.createIssuer(ctx, a.control, uuid.Nil, r.Params.IdempotencyKey, *r.Body)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminCreateOIDCIssuer201JSONResponse{Body: body, Headers: openapi.AdminCreateOIDCIssuer201ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// AdminGetOIDCIssuer returns one of the installation's issuers.
func (a *Auth) AdminGetOIDCIssuer(ctx context.Context, r openapi.AdminGetOIDCIssuerRequestObject) (openapi.AdminGetOIDCIssuerResponseObject, error) {
	issuer, err := a.control.Issuer(ctx, r.IssuerID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminGetOIDCIssuer200JSONResponse{Body: body, Headers: openapi.AdminGetOIDCIssuer200ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// AdminUpdateOIDCIssuer replaces the role mappings.
func (a *Auth) AdminUpdateOIDCIssuer(ctx context.Context, r openapi.AdminUpdateOIDCIssuerRequestObject) (openapi.AdminUpdateOIDCIssuerResponseObject, error) {
	issuer, err := a.updateIssuer(ctx, a.control, uuid.Nil, r.IssuerID, r.Body.RoleMappings)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminUpdateOIDCIssuer200JSONResponse{Body: body, Headers: openapi.AdminUpdateOIDCIssuer200ResponseHeaders{ETag: request.ETag(issuer)}}, err
}

// AdminDeleteOIDCIssuer ends the installation's trust in an issuer.
func (a *Auth) AdminDeleteOIDCIssuer(ctx context.Context, r openapi.AdminDeleteOIDCIssuerRequestObject) (openapi.AdminDeleteOIDCIssuerResponseObject, error) {
	return openapi.AdminDeleteOIDCIssuer204Response{}, a.control.DeleteIssuer(ctx, r.IssuerID)
}

// createIssuer fetches the issuer's configuration first, so that a mistake shows at once and not at every login.
func (a *Auth) createIssuer(ctx context.Context, owner issuerOwner, tenantID uuid.UUID, key *openapi.IdempotencyKey, body openapi.OIDCIssuerCreate) (husk.OIDCIssuer, error) {
	mappings, err := mappingsOf(tenantID, openapi.Value(body.RoleMappings))
	if err != nil {
		return husk.OIDCIssuer{}, err
	}
	if err := a.LimitOutbound(ctx, tenantID); err != nil {
		return husk.OIDCIssuer{}, err
	}
	if err := a.idTokens.Check(ctx, body.Issuer); err != nil {
		unusable, ok := errors.AsType[*idtoken.IssuerError](err)
		if !ok {
			return husk.OIDCIssuer{}, err
		}
		return husk.OIDCIssuer{}, errors.Join(husk.Errorf(husk.CodeIssuerUnreachable, "issuer", "%s cannot be used: %s", body.Issuer, unusable.Detail()), err)
	}
	return owner.CreateIssuer(ctx, request.Of(ctx).Idempotency(key), husk.OIDCIssuer{
		Name: body.Name, Issuer: body.Issuer, ClientID: body.ClientID, RoleMappings: mappings,
	})
}

func (a *Auth) updateIssuer(ctx context.Context, owner issuerOwner, tenantID, id uuid.UUID, mappings []openapi.RoleMapping) (husk.OIDCIssuer, error) {
	m, err := mappingsOf(tenantID, mappings)
	if err != nil {
		return husk.OIDCIssuer{}, err
	}
	return owner.SetRoleMappings(ctx, id, m)
}

// mappingsOf checks that mappings of the installation name a tenant, and that mappings of a tenant name none: they apply to that tenant only.
func mappingsOf(tenantID uuid.UUID, mappings []openapi.RoleMapping) ([]husk.RoleMapping, error) {
	out := []husk.RoleMapping{}
	for i, m := range mappings {
		field := fmt.Sprintf("roleMappings[%d].tenantId", i)
		if tenantID == uuid.Nil && m.TenantID == nil {
			return nil, husk.Errorf(husk.CodeInvalid, field, "a mapping of an issuer of the installation must name the tenant that the role applies to")
		}
		if tenantID != uuid.Nil && m.TenantID != nil {
			return nil, husk.Errorf(husk.CodeInvalid, field, "a tenant's mappings apply to this tenant; leave tenantId out")
		}
		out = append(out, husk.RoleMapping{Claim: m.Claim, Value: m.Value, Role: husk.Role(m.Role), TenantID: m.TenantID})
	}
	return out, nil
}
