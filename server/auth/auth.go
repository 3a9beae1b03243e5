// SPDX-License-Identifier: Apache-2.0

// Package auth decides who a caller is: it issues and verifies tokens, logs people in through OIDC issuers, verifies the certificates
// of nodes' agents, and limits how often somebody may try. The access table in package server decides what a caller may do.
//
//   - tokens.go and signing_keys.go: JSON Web Tokens, and the keys that sign them
//   - oauth.go, login.go and browser.go: the OAuth 2.0 endpoints, logins with ID tokens, and logins from a browser
//   - issuers.go: the OIDC issuers that a tenant or the installation trusts
//   - certificates.go: the installation's certificate authority and the certificates of nodes
//   - limiter.go: rate limits that all servers share
//
// Methods of Auth that take and return request objects implement operations of the API.
package auth

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/egress"
	"husk/idtoken"
	"husk/server/request"
	"husk/session/ws"
	"husk/store"
)

// Config is what authentication needs.
type Config struct {
	Store  *store.Store
	Log    *slog.Logger
	Issuer string // of tokens; the same for every server of an installation

	// Egress says which addresses the server may connect to on behalf of tenants.
	Egress egress.Policy

	// LoginsPerSecond is how many logins, and requests with a token that does not verify, one address may send; 0 means 20. Bursts are
	// five times that.
	LoginsPerSecond float64

	// SigningKeyLife is how long a key signs tokens before the next one takes over; 0 means 30 days.
	SigningKeyLife time.Duration

	// NodeCertificateLife is how long a node's certificate is valid.
	NodeCertificateLife time.Duration

	// Metrics is where the package registers its metrics.
	Metrics prometheus.Registerer
}

// Auth authenticates callers.
type Auth struct {
	store     *store.Store
	control   store.Control
	logins    store.Control // with connections of its own
	log       *slog.Logger
	cfg       Config
	tokens    *tokens
	authority *authority
	idTokens  *idtoken.Verifier
	limited   prometheus.Counter

	// tenants limits requests per tenant, addresses limits logins per address, and outbound limits the requests that this server sends
	// to other services for a tenant.
	tenants, addresses, outbound *limiter
}

// New prepares authentication: the signing keys and the certificate authority, which it creates if this is the first server ever.
func New(ctx context.Context, cfg Config) (*Auth, error) {
	if cfg.LoginsPerSecond == 0 {
		cfg.LoginsPerSecond = 20
	}
	if cfg.SigningKeyLife == 0 {
		cfg.SigningKeyLife = 30 * 24 * time.Hour
	}
	control := cfg.Store.Control()
	tokens, err := newTokens(ctx, control, cfg.Issuer)
	if err != nil {
		return nil, err
	}
	authority, err := openAuthority(ctx, control)
	if err != nil {
		return nil, err
	}
	a := &Auth{
		store: cfg.Store, control: control, logins: cfg.Store.Logins(), log: cfg.Log, cfg: cfg, tokens: tokens, authority: authority,
		idTokens: idtoken.New(idtoken.Config{Egress: cfg.Egress}),
		limited:  prometheus.NewCounter(prometheus.CounterOpts{Name: "husk_http_rate_limited_total", Help: "Requests refused because their tenant or address sent too many."}),
		tenants:  newTenantLimiter(cfg.Store.Lookups()), addresses: newLimiter(cfg.Store.Logins(), "address", cfg.LoginsPerSecond), outbound: newLimiter(cfg.Store.Lookups(), "outbound", OutboundPerSecond),
	}
	cfg.Metrics.MustRegister(a.limited)
	return a, nil
}

// ByToken finds out who sent a request from its bearer token. webSocket also accepts the token where a browser's WebSocket has it.
// Codes: unauthenticated, unavailable.
func (a *Auth) ByToken(r *http.Request, req *request.Request, webSocket bool) error {
	scheme, token, given := strings.Cut(r.Header.Get("Authorization"), " ")
	if sent, ok := ws.Bearer(r); ok && !given && webSocket { // a browser's WebSocket has no such header
		scheme, token = "Bearer", sent
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return husk.Errorf(husk.CodeUnauthenticated, "", "the request has no bearer token; get one from /oauth2/token")
	}
	var err error
	if req.Caller, req.Expires, err = a.tokens.verify(r.Context(), token); err != nil {
		return err
	}
	if req.Caller.Kind != husk.CallerOperator {
		return nil // the store checks a tenant's caller in the same transaction: the credentials still exist, with the token's role
	}
	return a.operatorExists(r.Context(), req.Caller.ID)
}

func (a *Auth) operatorExists(ctx context.Context, id store.ID) error {
	there, err := a.control.OperatorExists(ctx, id)
	if err == nil && !there {
		err = husk.Errorf(husk.CodeUnauthenticated, "", "this operator's credentials were removed")
	}
	return err
}

// IssueTokenFor issues a token without asking for credentials. The server's own tests use it.
func (a *Auth) IssueTokenFor(ctx context.Context, caller husk.Caller, life time.Duration) (string, error) {
	return a.tokens.issue(ctx, caller, life)
}
