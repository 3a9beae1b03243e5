// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"husk"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/repeats"
)

// SigningKey is a key that signs tokens.
type SigningKey struct {
	ID        string
	Private   []byte // Ed25519 seed
	Public    []byte
	CreatedAt time.Time
	SignsFrom time.Time // by Postgres' clock, like CreatedAt
}

func signingKeyOwner(id string) string { return "signing key " + id }

// SigningKeys returns the keys that sign tokens, the newest first. It calls make if there is none yet; servers that start at the same time
// agree on one.
func (c Control) SigningKeys(ctx context.Context, make func() (SigningKey, error)) ([]SigningKey, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]SigningKey, error) {
		keys, err := c.signingKeys(ctx, q)
		if err != nil || len(keys) > 0 {
			return keys, err
		}
		if err := q.LockOperators(ctx); err != nil {
			return nil, err
		}
		if keys, err = c.signingKeys(ctx, q); err != nil || len(keys) > 0 {
			return keys, err
		}
		key, err := c.addSigningKey(ctx, q, make, 0)
		return []SigningKey{key}, err
	})
}

func (s *core) signingKeys(ctx context.Context, q *db.Queries) ([]SigningKey, error) {
	rows, err := q.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys := []SigningKey{}
	for _, r := range rows {
		private, old, err := s.keys.Master.OpenNoting(r.PrivateKey, signingKeyOwner(r.Kid))
		if err == nil && old {
			err = q.ResealSigningKey(ctx, db.ResealSigningKeyParams{Kid: r.Kid, PrivateKey: s.keys.Master.Seal(private, signingKeyOwner(r.Kid))})
		}
		if err != nil {
			return nil, wrap(err, "signing key %s", r.Kid)
		}
		keys = append(keys, SigningKey{ID: r.Kid, Private: private, Public: r.PublicKey, CreatedAt: r.CreatedAt, SignsFrom: r.SignsFrom})
	}
	return keys, nil
}

func (s *core) addSigningKey(ctx context.Context, q *db.Queries, make func() (SigningKey, error), signsAfter time.Duration) (SigningKey, error) {
	key, err := make()
	if err != nil {
		return key, err
	}
	row, err := q.InsertSigningKey(ctx, db.InsertSigningKeyParams{
		Kid: key.ID, PrivateKey: s.keys.Master.Seal(key.Private, signingKeyOwner(key.ID)), PublicKey: key.Public, SignsAfter: signsAfter.Seconds(),
	})
	key.CreatedAt, key.SignsFrom = row.CreatedAt, row.SignsFrom
	return key, err
}

// RotateSigningKey adds a key that starts to sign after signsAfter, so that every server knows the key before it sees the key's first token.
// Codes: idempotency_mismatch.
func (c Control) RotateSigningKey(ctx context.Context, idem Idempotency, signsAfter time.Duration, make func() (SigningKey, error)) (SigningKey, error) {
	return inControl(ctx, c, func(q *db.Queries) (SigningKey, error) {
		if err := q.LockOperators(ctx); err != nil {
			return SigningKey{}, err
		}
		return repeats.OnceSealed(ctx, q, &c.keys, platform, idem, func() (ID, SigningKey, error) {
			key, err := c.addSigningKey(ctx, q, make, signsAfter)
			if err != nil {
				return platform, key, err
			}
			key.Private = nil // no response contains it
			if err := audit(ctx, q, platform, "signingKey", key.ID); err != nil {
				return platform, key, err
			}
			return platform, key, hint(ctx, q, hints.SigningKeys)
		})
	})
}

// DeleteSigningKey deletes a key: tokens that it signed no longer verify. It refuses to delete the only key that signs. Codes: not_found,
// conflict.
func (c Control) DeleteSigningKey(ctx context.Context, id string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if err := q.LockOperators(ctx); err != nil {
			return err
		}
		keys, err := c.signingKeys(ctx, q)
		if err != nil {
			return err
		}
		found, others := false, 0
		for _, k := range keys {
			if k.ID == id {
				found = true
			} else if !k.SignsFrom.After(time.Now()) {
				others++
			}
		}
		switch {
		case !found:
			return husk.NotFound("signing key")
		case others == 0:
			return husk.Errorf(husk.CodeConflict, "", "no other key signs yet; rotate the keys first, and delete this key when the new one signs")
		}
		if err := q.DeleteSigningKey(ctx, id); err != nil {
			return err
		}
		if err := audit(ctx, q, platform, "signingKey", id); err != nil {
			return err
		}
		return hint(ctx, q, hints.SigningKeys)
	})
}

// TendSigningKeys creates a new key if the signing key is older than life, and deletes keys that were replaced longer ago than the lifetime
// of a token. It returns whether anything changed.
func (c Control) TendSigningKeys(ctx context.Context, epoch int64, life, signsAfter, tokenLife time.Duration, make func() (SigningKey, error)) (bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return false, ignoreNoRows(err)
		}
		if err := q.LockOperators(ctx); err != nil {
			return false, err
		}
		keys, err := c.signingKeys(ctx, q)
		if err != nil || len(keys) == 0 {
			return false, err
		}
		changed := false
		now := time.Now()
		for i, k := range keys[1:] { // the key before it in the list replaced it when that key started to sign
			if now.Sub(keys[i].SignsFrom) > tokenLife {
				if err := q.DeleteSigningKey(ctx, k.ID); err != nil {
					return false, err
				}
				changed = true
			}
		}
		if now.Sub(keys[0].SignsFrom) > life {
			if _, err := c.addSigningKey(ctx, q, make, signsAfter); err != nil {
				return false, err
			}
			changed = true
		}
		if !changed {
			return false, nil
		}
		return true, hint(ctx, q, hints.SigningKeys)
	})
}
