package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/store"
)

const (
	tokenLife     = 15 * time.Minute
	tokenAudience = "husk"
	// keysKept is how long the signing keys are used before they are read again. An unknown key id is looked up at most this often,
	// so that a flood of them costs the database nothing.
	keysKept = 10 * time.Second
)

// claims are ours beside the registered ones.
type claims struct {
	jwt.RegisteredClaims
	Kind   husk.CallerKind `json:"kind"`
	Tenant *uuid.UUID      `json:"tenant,omitempty"`
}

// tokens issues and verifies JWTs, signed with Ed25519.
type tokens struct {
	store  *store.Store
	issuer string
	parser *jwt.Parser

	mu     sync.Mutex
	keys   []store.SigningKey // newest first; the newest signs
	readAt time.Time
}

func newTokens(ctx context.Context, s *store.Store, issuer string) (*tokens, error) {
	if issuer == "" {
		return nil, errors.New("the issuer of tokens must be given")
	}
	t := &tokens{store: s, issuer: issuer, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(tokenAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(5*time.Second),
	)}
	if _, err := t.current(ctx, true); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	return t, nil
}

func makeSigningKey() (store.SigningKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return store.SigningKey{}, err
	}
	return store.SigningKey{ID: rand.Text(), Private: private.Seed(), Public: public}, nil
}

// current returns the keys, reading them again when asked to and the last reading is old.
func (t *tokens) current(ctx context.Context, reread bool) ([]store.SigningKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !reread || time.Since(t.readAt) < keysKept {
		return t.keys, nil
	}
	keys, err := t.store.SigningKeys(ctx, makeSigningKey)
	if err != nil {
		return nil, err
	}
	t.keys, t.readAt = keys, time.Now()
	return keys, nil
}

// issue makes a token for a tenant or an operator.
func (t *tokens) issue(ctx context.Context, caller husk.Caller, life time.Duration) (string, error) {
	keys, err := t.current(ctx, false)
	if err != nil {
		return "", err
	}
	now := time.Now()
	c := claims{Kind: caller.Kind, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: t.issuer, Subject: caller.ClientID.String(), Audience: jwt.ClaimStrings{tokenAudience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}}
	if caller.TenantID != uuid.Nil {
		c.Tenant = &caller.TenantID
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	token.Header["kid"] = keys[0].ID
	return token.SignedString(ed25519.NewKeyFromSeed(keys[0].Private))
}

// verify returns who a token speaks for. Codes: unauthenticated.
func (t *tokens) verify(ctx context.Context, raw string) (husk.Caller, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(raw, &c, func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		for _, reread := range []bool{false, true} {
			keys, err := t.current(ctx, reread)
			if err != nil {
				return nil, err
			}
			for _, k := range keys {
				if k.ID == kid {
					return ed25519.PublicKey(k.Public), nil
				}
			}
		}
		return nil, errors.New("unknown key id")
	})
	if err != nil {
		if husk.CodeOf(err) == husk.CodeUnavailable {
			return husk.Caller{}, err
		}
		reason := "the token does not verify"
		if errors.Is(err, jwt.ErrTokenExpired) {
			reason = "the token has expired"
		}
		return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "%s; get a new one from /oauth2/token", reason)
	}
	if c.Kind != husk.CallerTenant && c.Kind != husk.CallerOperator { // an agent has a certificate
		return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "the token's kind is not one of ours")
	}
	caller := husk.Caller{Kind: c.Kind}
	if caller.ClientID, err = uuid.Parse(c.Subject); err != nil {
		return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "the token's subject is not one of ours")
	}
	if c.Tenant != nil {
		caller.TenantID = *c.Tenant
	}
	if (caller.Kind == husk.CallerTenant) != (c.Tenant != nil) {
		return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "the token names no tenant that goes with its kind")
	}
	return caller, nil
}

// IssueToken implements the client credentials grant.
func (a api) IssueToken(ctx context.Context, r openapi.IssueTokenRequestObject) (openapi.IssueTokenResponseObject, error) {
	refuse := func(code openapi.OAuthErrorError, text string) openapi.IssueToken400JSONResponse {
		return openapi.IssueToken400JSONResponse{OAuthErrorJSONResponse: openapi.OAuthErrorJSONResponse{Error: code, ErrorDescription: &text}}
	}
	switch grant := valueOf(r.Body.GrantType); grant {
	case "client_credentials":
	case "":
		return refuse(openapi.InvalidRequest, "grant_type is needed"), nil
	default:
		return refuse(openapi.UnsupportedGrantType, "only client_credentials is supported"), nil
	}
	id, secret := valueOf(r.Body.ClientID), valueOf(r.Body.ClientSecret)
	if req := requestOf(ctx); req.hasBasic {
		id, secret = req.basicUser, req.basicPass
	}
	clientID, err := uuid.Parse(id)
	if err != nil || secret == "" {
		return refuse(openapi.InvalidRequest, "client_id (a UUID) and client_secret are needed"), nil //nolint:nilerr // the answer says it
	}
	caller, err := a.store.Authenticate(ctx, clientID, secret)
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		text := "unknown client or wrong secret"
		return openapi.IssueToken401JSONResponse{Error: openapi.InvalidClient, ErrorDescription: &text}, nil
	}
	if err != nil {
		return nil, err
	}
	token, err := a.tokens.issue(ctx, caller, tokenLife)
	if err != nil {
		return nil, err
	}
	return openapi.IssueToken200JSONResponse{AccessToken: token, TokenType: openapi.Bearer, ExpiresIn: int(tokenLife.Seconds())}, nil
}

// GetKeySet publishes the public keys.
func (a api) GetKeySet(ctx context.Context, _ openapi.GetKeySetRequestObject) (openapi.GetKeySetResponseObject, error) {
	keys, err := a.tokens.current(ctx, true)
	if err != nil {
		return nil, err
	}
	set := openapi.GetKeySet200JSONResponse{Keys: []openapi.Key{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, openapi.Key{
			Kty: openapi.OKP, Crv: openapi.Ed25519, Alg: openapi.EdDSA, Use: openapi.Sig, Kid: k.ID, X: base64.RawURLEncoding.EncodeToString(k.Public),
		})
	}
	return set, nil
}

func valueOf[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
