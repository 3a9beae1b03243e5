package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/idtoken"
	"husk/openapi"
	"husk/store"
)

// ListServiceAccounts lists.
func (a api) ListServiceAccounts(ctx context.Context, r openapi.ListServiceAccountsRequestObject) (openapi.ListServiceAccountsResponseObject, error) {
	accounts, next, err := a.store.ServiceAccounts(ctx, tenantOf(ctx), pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.ServiceAccount](accounts, next)
	return openapi.ListServiceAccounts200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateServiceAccount makes a service account.
func (a api) CreateServiceAccount(ctx context.Context, r openapi.CreateServiceAccountRequestObject) (openapi.CreateServiceAccountResponseObject, error) {
	req := requestOf(ctx)
	account, err := a.store.CreateServiceAccount(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), r.Body.Name, husk.Role(r.Body.Role))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.CreateServiceAccount201JSONResponse{Body: body, Headers: openapi.CreateServiceAccount201ResponseHeaders{ETag: tag(account)}}, err
}

// GetServiceAccount returns one service account.
func (a api) GetServiceAccount(ctx context.Context, r openapi.GetServiceAccountRequestObject) (openapi.GetServiceAccountResponseObject, error) {
	account, err := a.store.ServiceAccount(ctx, tenantOf(ctx), r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.GetServiceAccount200JSONResponse{Body: body, Headers: openapi.GetServiceAccount200ResponseHeaders{ETag: tag(account)}}, err
}

// UpdateServiceAccount changes a role.
func (a api) UpdateServiceAccount(ctx context.Context, r openapi.UpdateServiceAccountRequestObject) (openapi.UpdateServiceAccountResponseObject, error) {
	account, err := a.store.SetServiceAccountRole(ctx, tenantOf(ctx), r.ServiceAccountID, husk.Role(r.Body.Role))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.UpdateServiceAccount200JSONResponse{Body: body, Headers: openapi.UpdateServiceAccount200ResponseHeaders{ETag: tag(account)}}, err
}

// DeleteServiceAccount removes a service account with its keys.
func (a api) DeleteServiceAccount(ctx context.Context, r openapi.DeleteServiceAccountRequestObject) (openapi.DeleteServiceAccountResponseObject, error) {
	return openapi.DeleteServiceAccount204Response{}, a.store.DeleteServiceAccount(ctx, tenantOf(ctx), r.ServiceAccountID)
}

// ListServiceAccountKeys lists without secrets.
func (a api) ListServiceAccountKeys(ctx context.Context, r openapi.ListServiceAccountKeysRequestObject) (openapi.ListServiceAccountKeysResponseObject, error) {
	keys, err := a.store.APIKeys(ctx, tenantOf(ctx), r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	items, _, err := listed[openapi.APIKey](keys, "")
	return openapi.ListServiceAccountKeys200JSONResponse{Items: items}, err
}

// CreateServiceAccountKey makes an API key and shows its secret.
func (a api) CreateServiceAccountKey(ctx context.Context, r openapi.CreateServiceAccountKeyRequestObject) (openapi.CreateServiceAccountKeyResponseObject, error) {
	req := requestOf(ctx)
	key, err := a.store.CreateAPIKey(ctx, req.caller.TenantID, r.ServiceAccountID, req.idempotency(r.Params.IdempotencyKey), store.KeyOrder{
		Name: r.Body.Name, Life: lifeOf(r.Body.ExpiresInSeconds), LimitedTo: husk.KeyLimit(valueOf(r.Body.LimitedTo)),
	})
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateServiceAccountKey201JSONResponse](key)
}

// DeleteServiceAccountKey revokes.
func (a api) DeleteServiceAccountKey(ctx context.Context, r openapi.DeleteServiceAccountKeyRequestObject) (openapi.DeleteServiceAccountKeyResponseObject, error) {
	return openapi.DeleteServiceAccountKey204Response{}, a.store.DeleteAPIKey(ctx, tenantOf(ctx), r.ServiceAccountID, r.KeyID)
}

func lifeOf(seconds *int64) time.Duration { return time.Duration(valueOf(seconds)) * time.Second }

// ListUsers lists.
func (a api) ListUsers(ctx context.Context, r openapi.ListUsersRequestObject) (openapi.ListUsersResponseObject, error) {
	users, next, err := a.store.Users(ctx, tenantOf(ctx), pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.User](users, next)
	return openapi.ListUsers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateUser admits a user.
func (a api) CreateUser(ctx context.Context, r openapi.CreateUserRequestObject) (openapi.CreateUserResponseObject, error) {
	req := requestOf(ctx)
	if (r.Body.Subject == nil) == (r.Body.Email == nil) {
		return nil, husk.Errorf(husk.CodeInvalid, "subject", "give the issuer's subject or an email address, one of the two")
	}
	user, err := a.store.CreateUser(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), husk.User{
		Issuer: r.Body.Issuer, Subject: valueOf(r.Body.Subject), Email: valueOf(r.Body.Email), Role: husk.Role(r.Body.Role),
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.CreateUser201JSONResponse{Body: body, Headers: openapi.CreateUser201ResponseHeaders{ETag: tag(user)}}, err
}

// GetUser returns one user.
func (a api) GetUser(ctx context.Context, r openapi.GetUserRequestObject) (openapi.GetUserResponseObject, error) {
	user, err := a.store.User(ctx, tenantOf(ctx), r.UserID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.GetUser200JSONResponse{Body: body, Headers: openapi.GetUser200ResponseHeaders{ETag: tag(user)}}, err
}

// UpdateUser changes a role or shuts a user out.
func (a api) UpdateUser(ctx context.Context, r openapi.UpdateUserRequestObject) (openapi.UpdateUserResponseObject, error) {
	user, err := a.store.UpdateUser(ctx, tenantOf(ctx), r.UserID, (*husk.Role)(r.Body.Role), r.Body.Disabled)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.UpdateUser200JSONResponse{Body: body, Headers: openapi.UpdateUser200ResponseHeaders{ETag: tag(user)}}, err
}

// DeleteUser removes a user.
func (a api) DeleteUser(ctx context.Context, r openapi.DeleteUserRequestObject) (openapi.DeleteUserResponseObject, error) {
	return openapi.DeleteUser204Response{}, a.store.DeleteUser(ctx, tenantOf(ctx), r.UserID)
}

// ListOIDCIssuers lists the tenant's own.
func (a api) ListOIDCIssuers(ctx context.Context, r openapi.ListOIDCIssuersRequestObject) (openapi.ListOIDCIssuersResponseObject, error) {
	issuers, next, err := a.store.Issuers(ctx, tenantOf(ctx), pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.OIDCIssuer](issuers, next)
	return openapi.ListOIDCIssuers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateOIDCIssuer trusts an issuer for the tenant.
func (a api) CreateOIDCIssuer(ctx context.Context, r openapi.CreateOIDCIssuerRequestObject) (openapi.CreateOIDCIssuerResponseObject, error) {
	issuer, err := a.createIssuer(ctx, tenantOf(ctx), r.Params.IdempotencyKey, *r.Body)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.CreateOIDCIssuer201JSONResponse{Body: body, Headers: openapi.CreateOIDCIssuer201ResponseHeaders{ETag: tag(issuer)}}, err
}

// GetOIDCIssuer returns one issuer.
func (a api) GetOIDCIssuer(ctx context.Context, r openapi.GetOIDCIssuerRequestObject) (openapi.GetOIDCIssuerResponseObject, error) {
	issuer, err := a.store.Issuer(ctx, tenantOf(ctx), r.IssuerID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.GetOIDCIssuer200JSONResponse{Body: body, Headers: openapi.GetOIDCIssuer200ResponseHeaders{ETag: tag(issuer)}}, err
}

// UpdateOIDCIssuer replaces the role mappings.
func (a api) UpdateOIDCIssuer(ctx context.Context, r openapi.UpdateOIDCIssuerRequestObject) (openapi.UpdateOIDCIssuerResponseObject, error) {
	issuer, err := a.updateIssuer(ctx, tenantOf(ctx), r.IssuerID, r.Body.RoleMappings)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.UpdateOIDCIssuer200JSONResponse{Body: body, Headers: openapi.UpdateOIDCIssuer200ResponseHeaders{ETag: tag(issuer)}}, err
}

// DeleteOIDCIssuer trusts an issuer no more.
func (a api) DeleteOIDCIssuer(ctx context.Context, r openapi.DeleteOIDCIssuerRequestObject) (openapi.DeleteOIDCIssuerResponseObject, error) {
	return openapi.DeleteOIDCIssuer204Response{}, a.store.DeleteIssuer(ctx, tenantOf(ctx), r.IssuerID)
}

// AdminListOIDCIssuers lists the installation's.
func (a api) AdminListOIDCIssuers(ctx context.Context, r openapi.AdminListOIDCIssuersRequestObject) (openapi.AdminListOIDCIssuersResponseObject, error) {
	issuers, next, err := a.store.Issuers(ctx, uuid.Nil, pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.OIDCIssuer](issuers, next)
	return openapi.AdminListOIDCIssuers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// AdminCreateOIDCIssuer trusts an issuer for the installation.
func (a api) AdminCreateOIDCIssuer(ctx context.Context, r openapi.AdminCreateOIDCIssuerRequestObject) (openapi.AdminCreateOIDCIssuerResponseObject, error) {
	issuer, err := a.createIssuer(ctx, uuid.Nil, r.Params.IdempotencyKey, *r.Body)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminCreateOIDCIssuer201JSONResponse{Body: body, Headers: openapi.AdminCreateOIDCIssuer201ResponseHeaders{ETag: tag(issuer)}}, err
}

// AdminGetOIDCIssuer returns one of the installation's issuers.
func (a api) AdminGetOIDCIssuer(ctx context.Context, r openapi.AdminGetOIDCIssuerRequestObject) (openapi.AdminGetOIDCIssuerResponseObject, error) {
	issuer, err := a.store.Issuer(ctx, uuid.Nil, r.IssuerID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminGetOIDCIssuer200JSONResponse{Body: body, Headers: openapi.AdminGetOIDCIssuer200ResponseHeaders{ETag: tag(issuer)}}, err
}

// AdminUpdateOIDCIssuer replaces the role mappings.
func (a api) AdminUpdateOIDCIssuer(ctx context.Context, r openapi.AdminUpdateOIDCIssuerRequestObject) (openapi.AdminUpdateOIDCIssuerResponseObject, error) {
	issuer, err := a.updateIssuer(ctx, uuid.Nil, r.IssuerID, r.Body.RoleMappings)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.OIDCIssuer](issuer)
	return openapi.AdminUpdateOIDCIssuer200JSONResponse{Body: body, Headers: openapi.AdminUpdateOIDCIssuer200ResponseHeaders{ETag: tag(issuer)}}, err
}

// AdminDeleteOIDCIssuer trusts an issuer no more.
func (a api) AdminDeleteOIDCIssuer(ctx context.Context, r openapi.AdminDeleteOIDCIssuerRequestObject) (openapi.AdminDeleteOIDCIssuerResponseObject, error) {
	return openapi.AdminDeleteOIDCIssuer204Response{}, a.store.DeleteIssuer(ctx, uuid.Nil, r.IssuerID)
}

// createIssuer asks the issuer for its configuration first, so that a mistake is this call's answer and not every login's.
func (a api) createIssuer(ctx context.Context, tenantID uuid.UUID, key *openapi.IdempotencyKey, body openapi.OIDCIssuerCreate) (husk.OIDCIssuer, error) {
	mappings, err := mappingsOf(tenantID, valueOf(body.RoleMappings))
	if err != nil {
		return husk.OIDCIssuer{}, err
	}
	if err := a.limit(ctx, a.outbound, tenantID.String()); err != nil {
		return husk.OIDCIssuer{}, err
	}
	if err := a.idTokens.Check(ctx, body.Issuer); err != nil {
		unusable, ok := errors.AsType[*idtoken.IssuerError](err)
		if !ok {
			return husk.OIDCIssuer{}, err
		}
		return husk.OIDCIssuer{}, errors.Join(husk.Errorf(husk.CodeIssuerUnreachable, "issuer", "%s cannot be used: %s", body.Issuer, unusable.Reason), err)
	}
	return a.store.CreateIssuer(ctx, tenantID, requestOf(ctx).idempotency(key), husk.OIDCIssuer{
		Name: body.Name, Issuer: body.Issuer, ClientID: body.ClientID, RoleMappings: mappings,
	})
}

func (a api) updateIssuer(ctx context.Context, tenantID, id uuid.UUID, mappings []openapi.RoleMapping) (husk.OIDCIssuer, error) {
	m, err := mappingsOf(tenantID, mappings)
	if err != nil {
		return husk.OIDCIssuer{}, err
	}
	return a.store.SetRoleMappings(ctx, tenantID, id, m)
}

// mappingsOf checks that mappings name a tenant exactly where they must: the installation's do, a tenant's own cannot reach another.
func mappingsOf(tenantID uuid.UUID, mappings []openapi.RoleMapping) ([]husk.RoleMapping, error) {
	out := []husk.RoleMapping{}
	for i, m := range mappings {
		field := fmt.Sprintf("roleMappings[%d].tenantId", i)
		if tenantID == uuid.Nil && m.TenantID == nil {
			return nil, husk.Errorf(husk.CodeInvalid, field, "a mapping of the installation's issuer must say in which tenant the role counts")
		}
		if tenantID != uuid.Nil && m.TenantID != nil {
			return nil, husk.Errorf(husk.CodeInvalid, field, "a tenant's own mappings count in this tenant; leave tenantId out")
		}
		out = append(out, husk.RoleMapping{Claim: m.Claim, Value: m.Value, Role: husk.Role(m.Role), TenantID: m.TenantID})
	}
	return out, nil
}
