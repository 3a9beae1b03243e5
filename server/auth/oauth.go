// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// Names of OAuth 2.0 (RFC 6749 and RFC 8693).
const (
	grantClientCredentials = "client_credentials"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" //nolint:gosec // a name, not a credential
	grantCode              = "authorization_code"
	typeIDToken            = "urn:ietf:params:oauth:token-type:id_token" //nolint:gosec // likewise
	typeJWT                = "urn:ietf:params:oauth:token-type:jwt"
	typeAccessToken        = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // likewise
	scopeTenant            = "tenant:"
)

// oauthError is an error in the form of OAuth 2.0.
type oauthError struct {
	code openapi.OAuthErrorError
	text string
}

// Error implements error.
func (r *oauthError) Error() string { return string(r.code) + ": " + r.text }

func refuseLogin(code openapi.OAuthErrorError, format string, args ...any) error {
	return &oauthError{code, fmt.Sprintf(format, args...)}
}

// IssueToken issues a token for credentials.
func (a *Auth) IssueToken(ctx context.Context, r openapi.IssueTokenRequestObject) (openapi.IssueTokenResponseObject, error) {
	var granted grant
	var err error
	switch g := openapi.Value(r.Body.GrantType); g {
	case grantClientCredentials:
		granted, err = a.clientCredentials(ctx, *r.Body)
	case grantTokenExchange:
		granted, err = a.tokenExchange(ctx, *r.Body)
	case grantCode:
		granted, err = a.redeemCode(ctx, *r.Body)
	case "":
		err = refuseLogin(openapi.InvalidRequest, "grant_type is missing")
	default:
		err = refuseLogin(openapi.UnsupportedGrantType, "only %s, %s and %s are supported", grantClientCredentials, grantTokenExchange, grantCode)
	}
	if refused, ok := errors.AsType[*oauthError](err); ok {
		body := openapi.OAuthErrorJSONResponse{Error: refused.code, ErrorDescription: &refused.text}
		if refused.code == openapi.InvalidClient {
			return refusedClient{body, request.Of(ctx).HasBasic}, nil
		}
		return openapi.IssueToken400JSONResponse{OAuthErrorJSONResponse: body}, nil
	}
	if err != nil {
		return nil, err
	}
	life := TokenLife
	if at := granted.caller.LoggedInAt; !at.IsZero() {
		life = min(life, time.Until(at.Add(LoginLife)))
	}
	token, err := a.tokens.issue(ctx, granted.caller, life)
	if err != nil {
		return nil, err
	}
	answer := openapi.IssueToken200JSONResponse{AccessToken: token, TokenType: openapi.Bearer, ExpiresIn: int(life.Seconds())}
	if granted.exchanged {
		answer.IssuedTokenType = new(typeAccessToken)
	}
	if granted.tenant != "" {
		answer.Scope = new(scopeTenant + granted.tenant)
	}
	return answer, nil
}

// refusedClient is the response to wrong credentials. If they were in the header, RFC 6749 (5.2) requires a challenge. Without that, browsers would
// ask for a password.
type refusedClient struct {
	body  openapi.OAuthErrorJSONResponse
	basic bool
}

// VisitIssueTokenResponse sends the response.
func (r refusedClient) VisitIssueTokenResponse(w http.ResponseWriter) error {
	if r.basic {
		w.Header().Set("WWW-Authenticate", `Basic realm="husk"`)
	}
	return openapi.IssueToken401JSONResponse(r.body).VisitIssueTokenResponse(w)
}

// grant is the caller that a token is for.
type grant struct {
	caller    husk.Caller
	exchanged bool
	tenant    string // its name; set for people and for exchanged tokens
}

func (a *Auth) clientCredentials(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	id, secret := openapi.Value(form.ClientID), openapi.Value(form.ClientSecret)
	if req := request.Of(ctx); req.HasBasic {
		id, secret = req.BasicUser, req.BasicPass
	}
	if id == "" || secret == "" {
		return grant{}, refuseLogin(openapi.InvalidRequest, "client_id (a UUID) and client_secret are required")
	}
	clientID, err := uuid.Parse(id)
	if err != nil {
		return grant{}, refuseLogin(openapi.InvalidClient, "the client_id is not a UUID")
	}
	caller, err := a.logins.Authenticate(ctx, clientID, secret)
	// Conforming clients form-encode the credentials in the header (RFC 6749, 2.3.1); curl does not. The server accepts both.
	if decoded, bad := url.QueryUnescape(secret); husk.CodeOf(err) == husk.CodeUnauthenticated && bad == nil && decoded != secret && request.Of(ctx).HasBasic {
		caller, err = a.logins.Authenticate(ctx, clientID, decoded)
	}
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		return grant{}, refuseLogin(openapi.InvalidClient, "unknown client or wrong secret")
	}
	return grant{caller: caller}, err
}

// renew issues a new token for a valid one of this installation, if the caller still has the credentials and the role of that token.
func (a *Auth) renew(ctx context.Context, raw string) (grant, error) {
	caller, _, err := a.tokens.verify(ctx, raw)
	if err == nil && time.Since(caller.LoggedInAt) >= LoginLife-tokenLeeway {
		return grant{}, refuseLogin(openapi.InvalidGrant, "the login is older than %s; log in again", LoginLife)
	}
	granted := grant{caller: caller, exchanged: true}
	if err == nil {
		granted.tenant, err = a.stillThere(ctx, caller)
	}
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		return grant{}, refuseLogin(openapi.InvalidGrant, "the subject token is refused; log in again")
	}
	return granted, err
}

// stillThere checks that a caller still has the credentials and the role of the token, and returns the name of the caller's tenant. Codes:
// unauthenticated, unavailable.
func (a *Auth) stillThere(ctx context.Context, caller husk.Caller) (tenant string, err error) {
	if caller.Kind == husk.CallerOperator {
		return "", a.operatorExists(ctx, caller.ID)
	}
	return a.store.Tenant(caller).Name(ctx)
}

// WhoAmI returns the caller of the token.
func (a *Auth) WhoAmI(ctx context.Context, _ openapi.WhoAmIRequestObject) (openapi.WhoAmIResponseObject, error) {
	req := request.Of(ctx)
	who := openapi.WhoAmI200JSONResponse{Kind: openapi.IdentityKind(req.Caller.Kind), ID: req.Caller.ID, Name: req.Caller.Name, ExpiresAt: req.Expires}
	if req.Caller.Kind == husk.CallerTenant {
		name, err := a.store.Tenant(req.Caller).Name(ctx)
		if err != nil {
			return nil, err
		}
		who.TenantID, who.TenantName, who.Role = &req.Caller.TenantID, &name, new(openapi.Role(req.Caller.Role))
		if req.Caller.Limit != "" {
			who.LimitedTo = new(openapi.KeyLimit(req.Caller.Limit))
		}
	}
	return who, nil
}
