// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"time"

	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

func makeSigningKey() (store.SigningKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return store.SigningKey{}, err
	}
	return store.SigningKey{ID: rand.Text(), Private: private.Seed(), Public: public}, nil
}

// current returns the keys. It reads them again if they have changed or the last read is too old. A key that another server has created is known
// here before it signs, because a new key is published for longer than the keys are cached.
func (t *tokens) current(ctx context.Context) ([]store.SigningKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.changed:
		t.readAt = time.Time{}
	default:
	}
	if time.Since(t.readAt) < keysKept {
		return t.keys, nil
	}
	keys, err := t.control.SigningKeys(ctx, makeSigningKey)
	if err != nil {
		return nil, err
	}
	t.keys, t.readAt = keys, time.Now()
	return keys, nil
}

// signing returns the key that signs now: the newest key whose start time has passed. The first key ever signs at once.
func signing(keys []store.SigningKey, now time.Time) store.SigningKey {
	for _, k := range keys {
		if !k.SignsFrom.After(now) {
			return k
		}
	}
	return keys[len(keys)-1]
}

// TendSigningKeys replaces the signing key when it is old, and removes keys whose tokens have all expired. The leading server calls it.
func (a *Auth) TendSigningKeys(ctx context.Context, epoch int64) error {
	changed, err := a.control.TendSigningKeys(ctx, epoch, a.cfg.SigningKeyLife, keyPublishedFor, TokenLife+2*tokenLeeway+keyPublishedFor, makeSigningKey)
	if changed {
		a.log.Info("rotated the keys that sign tokens")
	}
	return err
}

// GetKeySet publishes the public keys.
func (a *Auth) GetKeySet(ctx context.Context, _ openapi.GetKeySetRequestObject) (openapi.GetKeySetResponseObject, error) {
	keys, err := a.tokens.current(ctx)
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

// ListSigningKeys lists the keys that sign tokens, also those that this server has not loaded yet.
func (a *Auth) ListSigningKeys(ctx context.Context, _ openapi.ListSigningKeysRequestObject) (openapi.ListSigningKeysResponseObject, error) {
	keys, err := a.control.SigningKeys(ctx, makeSigningKey)
	if err != nil {
		return nil, err
	}
	out := openapi.ListSigningKeys200JSONResponse{Items: []openapi.SigningKey{}}
	for _, k := range keys {
		out.Items = append(out.Items, shownKey(k, keys))
	}
	return out, nil
}

// RotateSigningKey creates a new signing key.
func (a *Auth) RotateSigningKey(ctx context.Context, r openapi.RotateSigningKeyRequestObject) (openapi.RotateSigningKeyResponseObject, error) {
	key, err := a.control.RotateSigningKey(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), keyPublishedFor, makeSigningKey)
	if err != nil {
		return nil, err
	}
	return openapi.RotateSigningKey201JSONResponse(shownKey(key, []store.SigningKey{key})), nil
}

// DeleteSigningKey deletes a key, for example because it leaked.
func (a *Auth) DeleteSigningKey(ctx context.Context, r openapi.DeleteSigningKeyRequestObject) (openapi.DeleteSigningKeyResponseObject, error) {
	return openapi.DeleteSigningKey204Response{}, a.control.DeleteSigningKey(ctx, r.Kid)
}

func shownKey(k store.SigningKey, all []store.SigningKey) openapi.SigningKey {
	state := openapi.Retired
	switch now := time.Now(); {
	case k.SignsFrom.After(now):
		state = openapi.Published
	case signing(all, now).ID == k.ID:
		state = openapi.Signing
	}
	return openapi.SigningKey{Kid: k.ID, State: state, CreatedAt: k.CreatedAt}
}
