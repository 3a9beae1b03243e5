// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// ListServiceAccounts lists service accounts.
func (a api) ListServiceAccounts(ctx context.Context, r openapi.ListServiceAccountsRequestObject) (openapi.ListServiceAccountsResponseObject, error) {
	accounts, next, err := a.tenant(ctx).ServiceAccounts(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.ServiceAccount](accounts, next)
	return openapi.ListServiceAccounts200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateServiceAccount creates a service account.
func (a api) CreateServiceAccount(ctx context.Context, r openapi.CreateServiceAccountRequestObject) (openapi.CreateServiceAccountResponseObject, error) {
	req := request.Of(ctx)
	account, err := a.tenant(ctx).CreateServiceAccount(ctx, req.Idempotency(r.Params.IdempotencyKey), r.Body.Name, husk.Role(r.Body.Role))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.CreateServiceAccount201JSONResponse{Body: body, Headers: openapi.CreateServiceAccount201ResponseHeaders{ETag: request.ETag(account)}}, err
}

// GetServiceAccount returns one service account.
func (a api) GetServiceAccount(ctx context.Context, r openapi.GetServiceAccountRequestObject) (openapi.GetServiceAccountResponseObject, error) {
	account, err := a.tenant(ctx).ServiceAccount(ctx, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.GetServiceAccount200JSONResponse{Body: body, Headers: openapi.GetServiceAccount200ResponseHeaders{ETag: request.ETag(account)}}, err
}

// UpdateServiceAccount changes the role of a service account.
func (a api) UpdateServiceAccount(ctx context.Context, r openapi.UpdateServiceAccountRequestObject) (openapi.UpdateServiceAccountResponseObject, error) {
	account, err := a.tenant(ctx).SetServiceAccountRole(ctx, r.ServiceAccountID, husk.Role(r.Body.Role))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.ServiceAccount](account)
	return openapi.UpdateServiceAccount200JSONResponse{Body: body, Headers: openapi.UpdateServiceAccount200ResponseHeaders{ETag: request.ETag(account)}}, err
}

// DeleteServiceAccount deletes a service account and its keys.
func (a api) DeleteServiceAccount(ctx context.Context, r openapi.DeleteServiceAccountRequestObject) (openapi.DeleteServiceAccountResponseObject, error) {
	return openapi.DeleteServiceAccount204Response{}, a.tenant(ctx).DeleteServiceAccount(ctx, r.ServiceAccountID)
}

// ListServiceAccountKeys lists the API keys of a service account, without secrets.
func (a api) ListServiceAccountKeys(ctx context.Context, r openapi.ListServiceAccountKeysRequestObject) (openapi.ListServiceAccountKeysResponseObject, error) {
	keys, err := a.tenant(ctx).APIKeys(ctx, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.APIKey](keys, "")
	return openapi.ListServiceAccountKeys200JSONResponse{Items: items}, err
}

// CreateServiceAccountKey creates an API key and returns its secret.
func (a api) CreateServiceAccountKey(ctx context.Context, r openapi.CreateServiceAccountKeyRequestObject) (openapi.CreateServiceAccountKeyResponseObject, error) {
	req := request.Of(ctx)
	key, err := a.tenant(ctx).CreateAPIKey(ctx, r.ServiceAccountID, req.Idempotency(r.Params.IdempotencyKey), store.KeyRequest{
		Name: r.Body.Name, Life: lifeOf(r.Body.ExpiresInSeconds), LimitedTo: husk.KeyLimit(openapi.Value(r.Body.LimitedTo)),
	})
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.CreateServiceAccountKey201JSONResponse](key)
}

// DeleteServiceAccountKey revokes an API key.
func (a api) DeleteServiceAccountKey(ctx context.Context, r openapi.DeleteServiceAccountKeyRequestObject) (openapi.DeleteServiceAccountKeyResponseObject, error) {
	return openapi.DeleteServiceAccountKey204Response{}, a.tenant(ctx).DeleteAPIKey(ctx, r.ServiceAccountID, r.KeyID)
}

func lifeOf(seconds *int64) time.Duration { return time.Duration(openapi.Value(seconds)) * time.Second }

// ListUsers lists users.
func (a api) ListUsers(ctx context.Context, r openapi.ListUsersRequestObject) (openapi.ListUsersResponseObject, error) {
	users, next, err := a.tenant(ctx).Users(ctx, request.Page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.User](users, next)
	return openapi.ListUsers200JSONResponse{Items: items, NextCursor: cursor}, err
}

// CreateUser invites a user.
func (a api) CreateUser(ctx context.Context, r openapi.CreateUserRequestObject) (openapi.CreateUserResponseObject, error) {
	req := request.Of(ctx)
	if (r.Body.Subject == nil) == (r.Body.Email == nil) {
		return nil, husk.Errorf(husk.CodeInvalid, "subject", "give either the issuer's subject or an email address")
	}
	user, err := a.tenant(ctx).CreateUser(ctx, req.Idempotency(r.Params.IdempotencyKey), husk.User{
		Issuer: r.Body.Issuer, Subject: openapi.Value(r.Body.Subject), Email: openapi.Value(r.Body.Email), Role: husk.Role(r.Body.Role),
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.CreateUser201JSONResponse{Body: body, Headers: openapi.CreateUser201ResponseHeaders{ETag: request.ETag(user)}}, err
}

// GetUser returns one user.
func (a api) GetUser(ctx context.Context, r openapi.GetUserRequestObject) (openapi.GetUserResponseObject, error) {
	user, err := a.tenant(ctx).User(ctx, r.UserID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.GetUser200JSONResponse{Body: body, Headers: openapi.GetUser200ResponseHeaders{ETag: request.ETag(user)}}, err
}

// UpdateUser changes the role of a user, or disables or enables the user.
func (a api) UpdateUser(ctx context.Context, r openapi.UpdateUserRequestObject) (openapi.UpdateUserResponseObject, error) {
	user, err := a.tenant(ctx).UpdateUser(ctx, r.UserID, (*husk.Role)(r.Body.Role), r.Body.Disabled)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.User](user)
	return openapi.UpdateUser200JSONResponse{Body: body, Headers: openapi.UpdateUser200ResponseHeaders{ETag: request.ETag(user)}}, err
}

// DeleteUser deletes a user.
func (a api) DeleteUser(ctx context.Context, r openapi.DeleteUserRequestObject) (openapi.DeleteUserResponseObject, error) {
	return openapi.DeleteUser204Response{}, a.tenant(ctx).DeleteUser(ctx, r.UserID)
}
