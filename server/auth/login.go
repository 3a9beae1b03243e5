// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"husk"
	"husk/idtoken"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// tokenExchange logs in a person who has an ID token of a trusted issuer. The person needs access to the tenant: as an invited user, or by a mapping
// from claims to roles. The error is the same for a tenant that does not exist and for one that the person has no access to.
func (a *Auth) tokenExchange(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	raw, kind := openapi.Value(form.SubjectToken), openapi.Value(form.SubjectTokenType)
	if t := openapi.Value(form.RequestedTokenType); t != "" && t != typeAccessToken {
		return grant{}, refuseLogin(openapi.InvalidRequest, "only a token of type %s can be requested", typeAccessToken)
	}
	switch {
	case raw != "" && kind == typeAccessToken:
		return a.renew(ctx, raw)
	case raw == "" || kind != typeIDToken && kind != typeJWT:
		return grant{}, refuseLogin(openapi.InvalidRequest, "subject_token and subject_token_type %s are required", typeIDToken)
	}
	granted, err := a.admitPerson(ctx, raw, openapi.Value(form.Scope), "")
	granted.exchanged = true
	return granted, err
}

func issuerUnavailable(issuer string, err error) error {
	if unusable, ok := errors.AsType[*idtoken.IssuerError](err); ok {
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the issuer %s cannot be used: %s", issuer, unusable.Detail()), unusable)
	}
	return err
}

// admitPerson logs in the person whom an ID token identifies. With a client id, the token must have been issued for
// that client.
func (a *Auth) admitPerson(ctx context.Context, raw, scope, clientID string) (grant, error) {
	tenantID, err := a.tenantOfScope(ctx, scope)
	if err != nil {
		return grant{}, err
	}
	var said jwt.RegisteredClaims // not verified yet: it only selects the issuer
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &said); err != nil || said.Issuer == "" {
		return grant{}, refuseLogin(openapi.InvalidGrant, "the subject token is not an ID token")
	}
	configured, err := a.logins.IssuersOf(ctx, said.Issuer, tenantID)
	if err != nil {
		return grant{}, err
	}
	if clientID != "" {
		configured = slices.DeleteFunc(configured, func(i husk.OIDCIssuer) bool { return i.ClientID != clientID })
	}
	login, err := a.verifyLogin(ctx, raw, configured)
	if err != nil {
		return grant{}, err
	}
	caller, tenant, err := a.logins.LogIn(ctx, login, tenantID)
	switch {
	case errors.Is(err, store.ErrWhichTenant):
		return grant{}, refuseLogin(openapi.InvalidScope, "this identity has access to several tenants; choose one with scope=tenant:NAME")
	case husk.CodeOf(err) == husk.CodeUnauthenticated:
		return grant{}, refuseLogin(openapi.InvalidGrant, "this identity has no role in the tenant")
	}
	return grant{caller: caller, tenant: tenant}, err
}

// tenantOfScope returns the tenant that a scope names, and nil if it names none. For a tenant that does not exist it returns the zero id. No identity has
// a role there, so the response is the same as for a tenant without access.
func (a *Auth) tenantOfScope(ctx context.Context, scope string) (*uuid.UUID, error) {
	var found *uuid.UUID
	for word := range strings.FieldsSeq(scope) {
		name, ok := strings.CutPrefix(word, scopeTenant)
		if !ok || found != nil {
			return nil, refuseLogin(openapi.InvalidScope, "the scope must be tenant:NAME, once")
		}
		id, err := a.logins.TenantByWord(ctx, name)
		if err != nil && husk.CodeOf(err) != husk.CodeNotFound {
			return nil, err
		}
		found = &id
	}
	return found, nil
}

// verifyLogin verifies an ID token with each configuration of its issuer. The configurations differ by client id.
func (a *Auth) verifyLogin(ctx context.Context, raw string, configured []husk.OIDCIssuer) (husk.Login, error) {
	var login husk.Login
	refusal := refuseLogin(openapi.InvalidGrant, "no trusted issuer has issued the subject token")
	checked := map[string]bool{}
	for _, i := range configured {
		good, known := checked[i.ClientID]
		if !known {
			c, err := a.idTokens.Verify(ctx, i.Issuer, i.ClientID, raw)
			if _, ok := errors.AsType[*idtoken.IssuerError](err); ok {
				return login, issuerUnavailable(i.Issuer, err)
			}
			if refused, ok := errors.AsType[*idtoken.RefusedError](err); ok {
				refusal = refuseLogin(openapi.InvalidGrant, "the subject token is refused: %s", refused.Reason)
			} else if err != nil {
				return login, err
			}
			good = err == nil
			checked[i.ClientID] = good
			if good {
				login.Issuer, login.Subject, login.Name, login.Claims = c.Issuer, c.Subject, c.Name, c.Raw
				if c.EmailVerified {
					login.VerifiedEmail = c.Email
				}
			}
		}
		if good {
			login.VouchedBy = append(login.VouchedBy, i)
		}
	}
	if len(login.VouchedBy) == 0 {
		return login, refusal
	}
	return login, nil
}

// GetLoginOptions lists the ways to log in: the issuers of the installation.
func (a *Auth) GetLoginOptions(ctx context.Context, _ openapi.GetLoginOptionsRequestObject) (openapi.GetLoginOptionsResponseObject, error) {
	issuers, _, err := a.logins.Issuers(ctx, store.Page{Limit: request.MaxLimit})
	if err != nil {
		return nil, err
	}
	options := openapi.GetLoginOptions200JSONResponse{Issuers: []openapi.LoginOption{}}
	for _, i := range issuers {
		options.Issuers = append(options.Issuers, openapi.LoginOption{Name: i.Name, Issuer: i.Issuer, ClientID: i.ClientID})
	}
	return options, nil
}
