// SPDX-License-Identifier: Apache-2.0

package oidcprovider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/text/language"
)

// store extends the example's storage: it rotates signing keys, adds the claim groups, and puts a
// user's claims into the ID token.
type store struct {
	*storage.Storage

	mu   sync.Mutex
	keys []signingKey // the last one signs

	// devices guards the device authorizations, which the example's storage returns without a lock.
	devices sync.Mutex
}

var (
	_ exampleop.Storage            = (*store)(nil)
	_ op.CanSetUserinfoFromRequest = (*store)(nil)
)

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.key }

type publishedKey struct{ signingKey }

func (k publishedKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publishedKey) Use() string                        { return "sig" }
func (k publishedKey) Key() any                           { return &k.key.PublicKey }

func (s *store) rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, signingKey{id: rand.Text(), key: key})
	return nil
}

// SigningKey implements op.Storage.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

// KeySet implements op.Storage.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set []op.Key
	for _, k := range s.keys {
		set = append(set, publishedKey{k})
	}
	return set, nil
}

// client extends a client of the example: it may use the device flow, and its ID tokens contain the
// user's claims.
type client struct{ op.Client }

// GrantTypes implements op.Client.
func (c client) GrantTypes() []oidc.GrantType {
	return append(slices.Clone(c.Client.GrantTypes()), oidc.GrantTypeDeviceCode)
}

// IDTokenUserinfoClaimsAssertion implements op.Client.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }

// GetClientByClientID implements op.Storage.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// SetUserinfoFromRequest implements op.CanSetUserinfoFromRequest.
func (s *store) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	if err := s.Storage.SetUserinfoFromRequest(ctx, info, r, scopes); err != nil {
		return err
	}
	for _, u := range users {
		if u.Subject == r.GetSubject() && u.Groups != nil {
			info.AppendClaims("groups", u.Groups)
		}
	}
	return nil
}

// GetDeviceAuthorizatonState implements op.DeviceAuthorizationStorage.
func (s *store) GetDeviceAuthorizatonState(ctx context.Context, clientID, deviceCode string) (*op.DeviceAuthorizationState, error) {
	s.devices.Lock()
	defer s.devices.Unlock()
	state, err := s.Storage.GetDeviceAuthorizatonState(ctx, clientID, deviceCode)
	if err != nil {
		return nil, err
	}
	c := *state
	return &c, nil
}

// CompleteDeviceAuthorization replaces the user's login name, which the caller passes, by the
// subject. The example would use the name as the subject.
func (s *store) CompleteDeviceAuthorization(ctx context.Context, userCode, name string) error {
	s.devices.Lock()
	defer s.devices.Unlock()
	for _, u := range users {
		if u.Name == name {
			return s.Storage.CompleteDeviceAuthorization(ctx, userCode, u.Subject)
		}
	}
	return fmt.Errorf("there is no user %s", name)
}

// DenyDeviceAuthorization also handles a code that does not exist. The example does not.
func (s *store) DenyDeviceAuthorization(ctx context.Context, userCode string) error {
	s.devices.Lock()
	defer s.devices.Unlock()
	if _, err := s.GetDeviceAuthorizationByUserCode(ctx, userCode); err != nil {
		return err
	}
	return s.Storage.DenyDeviceAuthorization(ctx, userCode)
}

// CreateAccessAndRefreshTokens stores which client a device's refresh token belongs to. The example
// does not store it, and then refuses the token.
func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (access, refresh string, expires time.Time, err error) {
	if device, ok := r.(*op.DeviceAuthorizationState); ok {
		r = storage.RefreshTokenRequestFromBusiness(&storage.RefreshToken{
			ApplicationID: device.ClientID, UserID: device.Subject, Audience: device.GetAudience(), Scopes: device.GetScopes(),
			AuthTime: device.AuthTime, AMR: device.GetAMR(),
		})
	}
	return s.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
}

// userStore implements storage.UserStore with the users of this package.
type userStore struct{}

func find(is func(User) bool) *storage.User {
	i := slices.IndexFunc(users, is)
	if i < 0 {
		return nil
	}
	u := users[i]
	return &storage.User{
		ID: u.Subject, Username: u.Name, Password: u.Password, FirstName: "The", LastName: u.Name, Email: u.Email, EmailVerified: u.Verified,
		PreferredLanguage: language.English,
	}
}

// GetUserByID implements storage.UserStore.
func (userStore) GetUserByID(id string) *storage.User {
	return find(func(u User) bool { return u.Subject == id })
}

// GetUserByUsername implements storage.UserStore.
func (userStore) GetUserByUsername(name string) *storage.User {
	return find(func(u User) bool { return u.Name == name })
}

// ExampleClientID implements storage.UserStore.
func (userStore) ExampleClientID() string { return "service" }
