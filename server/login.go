package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"husk"
	"husk/idtoken"
	"husk/openapi"
	"husk/store"
)

// What OAuth 2.0 calls things: RFC 6749 and RFC 8693.
const (
	grantClientCredentials = "client_credentials"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" //nolint:gosec // a name, no credential
	grantCode              = "authorization_code"
	typeIDToken            = "urn:ietf:params:oauth:token-type:id_token" //nolint:gosec // likewise
	typeJWT                = "urn:ietf:params:oauth:token-type:jwt"
	typeAccessToken        = "urn:ietf:params:oauth:token-type:access_token" //nolint:gosec // likewise
	scopeTenant            = "tenant:"
)

// oauthError is an error as OAuth 2.0 wants it.
type oauthError struct {
	code openapi.OAuthErrorError
	text string
}

// Error implements error.
func (r *oauthError) Error() string { return string(r.code) + ": " + r.text }

func refuseLogin(code openapi.OAuthErrorError, format string, args ...any) error {
	return &oauthError{code, fmt.Sprintf(format, args...)}
}

// IssueToken exchanges credentials for a token.
func (a api) IssueToken(ctx context.Context, r openapi.IssueTokenRequestObject) (openapi.IssueTokenResponseObject, error) {
	var granted grant
	var err error
	switch g := valueOf(r.Body.GrantType); g {
	case grantClientCredentials:
		granted, err = a.clientCredentials(ctx, *r.Body)
	case grantTokenExchange:
		granted, err = a.tokenExchange(ctx, *r.Body)
	case grantCode:
		granted, err = a.redeemCode(ctx, *r.Body)
	case "":
		err = refuseLogin(openapi.InvalidRequest, "grant_type is needed")
	default:
		err = refuseLogin(openapi.UnsupportedGrantType, "only %s, %s and %s are supported", grantClientCredentials, grantTokenExchange, grantCode)
	}
	if refused, ok := errors.AsType[*oauthError](err); ok {
		body := openapi.OAuthErrorJSONResponse{Error: refused.code, ErrorDescription: &refused.text}
		if refused.code == openapi.InvalidClient {
			return openapi.IssueToken401JSONResponse(body), nil
		}
		return openapi.IssueToken400JSONResponse{OAuthErrorJSONResponse: body}, nil
	}
	if err != nil {
		return nil, err
	}
	life := tokenLife
	if at := granted.caller.LoggedInAt; !at.IsZero() {
		life = min(life, time.Until(at.Add(loginLife)))
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

// grant is whom a token is for.
type grant struct {
	caller    husk.Caller
	exchanged bool
	tenant    string // its name, of a person or a token that was exchanged
}

func (a api) clientCredentials(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	id, secret := valueOf(form.ClientID), valueOf(form.ClientSecret)
	if req := requestOf(ctx); req.hasBasic {
		id, secret = req.basicUser, req.basicPass
	}
	clientID, err := uuid.Parse(id)
	if err != nil || secret == "" {
		return grant{}, refuseLogin(openapi.InvalidRequest, "client_id (a UUID) and client_secret are needed")
	}
	caller, err := a.store.Authenticate(ctx, clientID, secret)
	// Clients encode what goes into the header as a form (RFC 6749, 2.3.1), and curl does not: both are understood.
	if decoded, bad := url.QueryUnescape(secret); husk.CodeOf(err) == husk.CodeUnauthenticated && bad == nil && decoded != secret && requestOf(ctx).hasBasic {
		caller, err = a.store.Authenticate(ctx, clientID, decoded)
	}
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		return grant{}, refuseLogin(openapi.InvalidClient, "unknown client or wrong secret")
	}
	return grant{caller: caller}, err
}

// tokenExchange admits a person by an ID token: whoever configured the issuer vouches for it, by a user that was admitted or by a
// mapping from claims to roles. What is refused says the same for a tenant that does not exist and for one that is not open.
func (a api) tokenExchange(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	raw, kind := valueOf(form.SubjectToken), valueOf(form.SubjectTokenType)
	if t := valueOf(form.RequestedTokenType); t != "" && t != typeAccessToken {
		return grant{}, refuseLogin(openapi.InvalidRequest, "only a token of type %s can be had", typeAccessToken)
	}
	switch {
	case raw != "" && kind == typeAccessToken:
		return a.renew(ctx, raw)
	case raw == "" || kind != typeIDToken && kind != typeJWT:
		return grant{}, refuseLogin(openapi.InvalidRequest, "subject_token and subject_token_type %s are needed", typeIDToken)
	}
	granted, err := a.admitPerson(ctx, raw, valueOf(form.Scope), "")
	granted.exchanged = true
	return granted, err
}

// renew gives a younger token for one of ours that is still good, to whoever still is who it says.
func (a api) renew(ctx context.Context, raw string) (grant, error) {
	caller, _, err := a.tokens.verify(ctx, raw)
	if err == nil && time.Since(caller.LoggedInAt) >= loginLife-tokenLeeway {
		return grant{}, refuseLogin(openapi.InvalidGrant, "the login is older than %s; log in again", loginLife)
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

// stillThere checks that a caller is still who a token says, and returns its tenant's name. Codes: unauthenticated, unavailable.
func (a api) stillThere(ctx context.Context, caller husk.Caller) (tenant string, err error) {
	if caller.Kind == husk.CallerOperator {
		there, err := a.store.OperatorExists(ctx, caller.ID)
		if err == nil && !there {
			err = husk.Errorf(husk.CodeUnauthenticated, "", "this operator has been removed")
		}
		return "", err
	}
	req := requestOf(ctx)
	ctx = store.WithRequest(ctx, store.Request{ID: req.id, Operation: req.operation, Caller: caller, Address: req.address})
	return a.store.TenantName(ctx, caller.TenantID)
}

// redeemCode admits a person whom authorize has sent to an issuer, and who came back with a code.
func (a api) redeemCode(ctx context.Context, form openapi.IssueTokenFormdataRequestBody) (grant, error) {
	code := idtoken.Code{ClientID: valueOf(form.ClientID), Code: valueOf(form.Code), Verifier: valueOf(form.CodeVerifier), RedirectURI: valueOf(form.RedirectURI)}
	issuer := valueOf(form.Issuer)
	if slices.Contains([]string{issuer, code.ClientID, code.Code, code.Verifier, code.RedirectURI}, "") {
		return grant{}, refuseLogin(openapi.InvalidRequest, "issuer, client_id, code, code_verifier and redirect_uri are needed")
	}
	if err := a.configured(ctx, issuer, code.ClientID, valueOf(form.Scope)); err != nil {
		if husk.CodeOf(err) == husk.CodeNotFound {
			err = refuseLogin(openapi.InvalidGrant, "no issuer that is trusted here is called so")
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
	return a.admitPerson(ctx, raw, valueOf(form.Scope), code.ClientID)
}

// configured says whether somebody trusts an issuer under this client id: the installation, or the tenant of the scope. Codes: not_found.
func (a api) configured(ctx context.Context, issuer, clientID, scope string) error {
	tenantID, err := a.tenantOfScope(ctx, scope)
	if err != nil {
		return err
	}
	issuers, err := a.store.IssuersOf(ctx, issuer, tenantID)
	if err == nil && !slices.ContainsFunc(issuers, func(i husk.OIDCIssuer) bool { return i.ClientID == clientID }) {
		err = husk.Errorf(husk.CodeNotFound, "issuer", "no issuer that is trusted here is called so")
	}
	return err
}

// Authorize sends a browser to an issuer. A tenant can have an issuer wherever it likes, so a link on somebody else's page does not lead there: only a page of ours.
func (a api) Authorize(ctx context.Context, r openapi.AuthorizeRequestObject) (openapi.AuthorizeResponseObject, error) {
	if site := requestOf(ctx).http.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return nil, husk.Errorf(husk.CodeForbidden, "", "a login begins on the login page of this platform, and not on another site")
	}
	p := r.Params
	err := a.configured(ctx, p.Issuer, p.ClientID, valueOf(p.Scope))
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

func issuerUnavailable(issuer string, err error) error {
	if unusable, ok := errors.AsType[*idtoken.IssuerError](err); ok {
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the issuer %s cannot be asked: %s; try again", issuer, unusable.Reason), unusable)
	}
	return err
}

// admitPerson finds what an ID token opens. One that was asked for a client must be that client's.
func (a api) admitPerson(ctx context.Context, raw, scope, clientID string) (grant, error) {
	tenantID, err := a.tenantOfScope(ctx, scope)
	if err != nil {
		return grant{}, err
	}
	var said jwt.RegisteredClaims // not verified yet: it only says whom to ask
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &said); err != nil || said.Issuer == "" {
		return grant{}, refuseLogin(openapi.InvalidGrant, "the subject token is not an ID token")
	}
	configured, err := a.store.IssuersOf(ctx, said.Issuer, tenantID)
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
	caller, tenant, err := a.store.LogIn(ctx, login, tenantID)
	switch {
	case errors.Is(err, store.ErrWhichTenant):
		return grant{}, refuseLogin(openapi.InvalidScope, "this identity opens several tenants; say which with scope=tenant:NAME")
	case husk.CodeOf(err) == husk.CodeUnauthenticated:
		return grant{}, refuseLogin(openapi.InvalidGrant, "this identity has no role there")
	}
	return grant{caller: caller, tenant: tenant}, err
}

// tenantOfScope finds the tenant that a scope names, nil when it names none. One that does not exist is the zero id: nobody has a role
// there, and the answer is the same as for a tenant that is not open.
func (a api) tenantOfScope(ctx context.Context, scope string) (*uuid.UUID, error) {
	var found *uuid.UUID
	for word := range strings.FieldsSeq(scope) {
		name, ok := strings.CutPrefix(word, scopeTenant)
		if !ok || found != nil {
			return nil, refuseLogin(openapi.InvalidScope, "the scope is tenant:NAME, once")
		}
		id, err := a.store.TenantByWord(ctx, name)
		if err != nil && husk.CodeOf(err) != husk.CodeNotFound {
			return nil, err
		}
		found = &id
	}
	return found, nil
}

// verifyLogin holds an ID token against each configuration of its issuer; they differ by client id.
func (a api) verifyLogin(ctx context.Context, raw string, configured []husk.OIDCIssuer) (store.Login, error) {
	var login store.Login
	refusal := refuseLogin(openapi.InvalidGrant, "no issuer that is trusted here vouches for the subject token")
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

// GetLoginOptions tells how people log in: the installation's issuers.
func (a api) GetLoginOptions(ctx context.Context, _ openapi.GetLoginOptionsRequestObject) (openapi.GetLoginOptionsResponseObject, error) {
	issuers, _, err := a.store.Issuers(ctx, uuid.Nil, store.Page{Limit: maxLimit})
	if err != nil {
		return nil, err
	}
	options := openapi.GetLoginOptions200JSONResponse{Issuers: []openapi.LoginOption{}}
	for _, i := range issuers {
		options.Issuers = append(options.Issuers, openapi.LoginOption{Name: i.Name, Issuer: i.Issuer, ClientID: i.ClientID})
	}
	return options, nil
}

// WhoAmI says who the token speaks for.
func (a api) WhoAmI(ctx context.Context, _ openapi.WhoAmIRequestObject) (openapi.WhoAmIResponseObject, error) {
	req := requestOf(ctx)
	who := openapi.WhoAmI200JSONResponse{Kind: openapi.IdentityKind(req.caller.Kind), ID: req.caller.ID, Name: req.caller.Name, ExpiresAt: req.expires}
	if req.caller.Kind == husk.CallerTenant {
		name, err := a.store.TenantName(ctx, req.caller.TenantID)
		if err != nil {
			return nil, err
		}
		who.TenantID, who.TenantName, who.Role = &req.caller.TenantID, &name, new(openapi.Role(req.caller.Role))
		if req.caller.Limit != "" {
			who.LimitedTo = new(openapi.KeyLimit(req.caller.Limit))
		}
	}
	return who, nil
}
