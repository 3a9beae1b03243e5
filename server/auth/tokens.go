// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"husk"
	"husk/store"
	"husk/strictjson"
)

const (
	// TokenLife is how long a token is valid.
	TokenLife = 15 * time.Minute
	// LoginLife is how long after a login tokens can be renewed.
	LoginLife     = 12 * time.Hour
	tokenAudience = "husk"
	tokenLeeway   = 5 * time.Second
	// keysKept is how long the signing keys are cached. Unknown key IDs are looked up at most that often, so that a flood of them does not
	// load the database.
	keysKept = 10 * time.Second
	// keyPublishedFor is how long a new key is published before it signs its first token.
	keyPublishedFor = 6 * keysKept
	// maxToken is the largest token that is parsed, in bytes; tokens of this server are far smaller.
	maxToken = 8 << 10
	// maxTokenDepth is how deep objects and arrays may nest in a token.
	maxTokenDepth = 32
)

// claims are the registered claims and our own.
type claims struct {
	jwt.RegisteredClaims
	Kind   husk.CallerKind `json:"kind"`
	Name   string          `json:"name,omitempty"`
	Tenant *uuid.UUID      `json:"tenant,omitempty"`
	Role   husk.Role       `json:"role,omitempty"`
	Key    *uuid.UUID      `json:"key,omitempty"`       // the API key of a service account
	Limit  husk.KeyLimit   `json:"limitedTo,omitempty"` // of that key
	// AuthTime is when the caller presented credentials (OpenID Connect Core, 2).
	AuthTime *jwt.NumericDate `json:"auth_time,omitempty"`
}

// tokens issues and verifies JWTs, signed with Ed25519.
type tokens struct {
	control store.Control
	issuer  string
	parser  *jwt.Parser
	changed <-chan struct{} // hints that the keys were rotated or removed

	mu     sync.Mutex
	keys   []store.SigningKey // the newest first
	readAt time.Time
}

func newTokens(ctx context.Context, control store.Control, issuer string) (*tokens, error) {
	if issuer == "" {
		return nil, errors.New("the configuration has no issuer of tokens")
	}
	changed, _ := control.WatchSigningKeys() // until the store is closed
	t := &tokens{control: control, issuer: issuer, changed: changed, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(tokenAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithNotBeforeRequired(), jwt.WithLeeway(tokenLeeway),
	)}
	if _, err := t.current(ctx); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	return t, nil
}

// issue issues a token to a caller of a tenant or an operator.
func (t *tokens) issue(ctx context.Context, caller husk.Caller, life time.Duration) (string, error) {
	keys, err := t.current(ctx)
	if err != nil {
		return "", err
	}
	now := time.Now()
	if caller.LoggedInAt.IsZero() {
		caller.LoggedInAt = now
	}
	c := claims{Kind: caller.Kind, Name: caller.Name, Role: caller.Role, Limit: caller.Limit, AuthTime: jwt.NewNumericDate(caller.LoggedInAt), RegisteredClaims: jwt.RegisteredClaims{
		Issuer: t.issuer, Subject: caller.ID.String(), Audience: jwt.ClaimStrings{tokenAudience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}}
	if caller.TenantID != uuid.Nil {
		c.Tenant = &caller.TenantID
	}
	if caller.KeyID != uuid.Nil {
		c.Key = &caller.KeyID
	}
	key := signing(keys, now)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	token.Header["kid"] = key.ID
	return token.SignedString(ed25519.NewKeyFromSeed(key.Private))
}

// verify returns the caller of a token, and when the token expires. Codes: unauthenticated, unavailable.
func (t *tokens) verify(ctx context.Context, raw string) (husk.Caller, time.Time, error) {
	refuse := func(reason string) (husk.Caller, time.Time, error) {
		return husk.Caller{}, time.Time{}, husk.Errorf(husk.CodeUnauthenticated, "", "%s; get a new one from /oauth2/token", reason)
	}
	if len(raw) > maxToken {
		return refuse("the token is too long")
	}
	if err := unambiguous(raw); err != nil {
		return refuse("the token is ambiguous: " + err.Error())
	}
	var c claims
	_, err := t.parser.ParseWithClaims(raw, &c, func(token *jwt.Token) (any, error) {
		// Only kid is used, and only for comparison. Other references in the header (jku, x5u, jwk, x5c) are ignored.
		kid, _ := token.Header["kid"].(string)
		keys, err := t.current(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.ID == kid {
				return ed25519.PublicKey(k.Public), nil
			}
		}
		return nil, errors.New("unknown key id")
	})
	switch {
	case husk.CodeOf(err) == husk.CodeUnavailable:
		return husk.Caller{}, time.Time{}, err
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse("the token has expired")
	case err != nil:
		return refuse("the token does not verify")
	}
	caller := husk.Caller{Kind: c.Kind, Name: c.Name, Role: c.Role, Limit: c.Limit}
	if c.AuthTime != nil {
		caller.LoggedInAt = c.AuthTime.Time
	}
	if caller.ID, err = uuid.Parse(c.Subject); err != nil {
		return refuse("the token's subject is not valid")
	}
	for from, to := range map[*uuid.UUID]*uuid.UUID{c.Tenant: &caller.TenantID, c.Key: &caller.KeyID} {
		if from != nil {
			*to = *from
		}
	}
	if caller.Kind != husk.CallerTenant && caller.Kind != husk.CallerOperator { // an agent has a certificate
		return refuse("the token's kind is not valid")
	}
	if (caller.Kind == husk.CallerTenant) != (c.Tenant != nil) {
		return refuse("the token's tenant does not match its kind")
	}
	return caller, c.ExpiresAt.Time, nil
}

// unambiguous refuses a token whose header or claims contain a name twice: two parsers could use different values.
func unambiguous(raw string) error {
	head, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for _, part := range []string{head, payload} {
		plain, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || !json.Valid(plain) {
			return nil //nolint:nilerr // the parser will report the error
		}
		if err := strictjson.Check(plain, maxTokenDepth); err != nil {
			return err
		}
	}
	return nil
}
