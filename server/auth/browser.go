// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"slices"

	"husk"
	"husk/idtoken"
	"husk/openapi"
	"husk/server/request"
)

// redeemCode logs in a person who returned from an issuer with an authorization code.
func (a *Auth) redeemCode(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	code := idtoken.Code{ClientID: openapi.Value(form.ClientID), Code: openapi.Value(form.Code), Verifier: openapi.Value(form.CodeVerifier), RedirectURI: openapi.Value(form.RedirectURI)}
	issuer := openapi.Value(form.Issuer)
	if slices.Contains([]string{issuer, code.ClientID, code.Code, code.Verifier, code.RedirectURI}, "") {
		return grant{}, refuseLogin(openapi.InvalidRequest, "issuer, client_id, code, code_verifier and redirect_uri are required")
	}
	if err := a.configured(ctx, issuer, code.ClientID, openapi.Value(form.Scope)); err != nil {
		if husk.CodeOf(err) == husk.CodeNotFound {
			err = refuseLogin(openapi.InvalidGrant, "neither the installation nor the tenant trusts this issuer with this client id")
		}
		return grant{}, err
	}
	raw, err := a.idTokens.Redeem(ctx, issuer, code)
	if refused, ok := errors.AsType[*idtoken.RefusedError](err); ok {
		return grant{}, refuseLogin(openapi.InvalidGrant, "%s", refused.Reason)
	}
	if err != nil {
		return grant{}, issuerUnavailable(issuer, err)
	}
	return a.admitPerson(ctx, raw, openapi.Value(form.Scope), code.ClientID)
}

// configured checks that the installation, or the tenant of the scope, trusts an issuer with this client id. Codes: not_found.
func (a *Auth) configured(ctx context.Context, issuer, clientID, scope string) error {
	tenantID, err := a.tenantOfScope(ctx, scope)
	if err != nil {
		return err
	}
	issuers, err := a.logins.IssuersOf(ctx, issuer, tenantID)
	if err == nil && !slices.ContainsFunc(issuers, func(i husk.OIDCIssuer) bool { return i.ClientID == clientID }) {
		err = husk.Errorf(husk.CodeNotFound, "issuer", "neither the installation nor the tenant trusts this issuer with this client id")
	}
	return err
}

// Authorize redirects a browser to an issuer. Tenants choose the addresses of their issuers, so only pages of the dashboard may start a redirect,
// and links on other sites may not.
func (a *Auth) Authorize(ctx context.Context, r openapi.AuthorizeRequestObject) (openapi.AuthorizeResponseObject, error) {
	if site := request.Of(ctx).HTTP.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return nil, husk.Errorf(husk.CodeForbidden, "", "a login must start on the login page of this platform, not on another site")
	}
	p := r.Params
	err := a.configured(ctx, p.Issuer, p.ClientID, openapi.Value(p.Scope))
	if refused, ok := errors.AsType[*oauthError](err); ok {
		err = husk.Errorf(husk.CodeInvalid, "scope", "%s", refused.text)
	}
	if err != nil {
		return nil, err
	}
	to, err := a.idTokens.AuthorizationURL(ctx, p.Issuer, idtoken.Authorization{ClientID: p.ClientID, RedirectURI: p.RedirectURI, State: p.State, Challenge: p.CodeChallenge})
	if err != nil {
		return nil, issuerUnavailable(p.Issuer, err)
	}
	return openapi.Authorize302Response{Headers: openapi.Authorize302ResponseHeaders{Location: &to}}, nil
}
