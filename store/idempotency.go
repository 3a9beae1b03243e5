// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// Idempotency identifies one request, so that the store recognises a repetition. A request without an Idempotency-Key gets a random
// one, with which the server itself can retry after a commit with an unknown outcome.
type Idempotency struct {
	Key  string
	Hash [sha256.Size]byte // of operation, path and body
}

// NewIdempotency returns the identity of a request. Operation and path are part of it, so one key identifies one request only.
func NewIdempotency(key, operation, path string, body []byte) Idempotency {
	if key == "" {
		key = "server:" + uuid.NewString()
	}
	h := sha256.New()
	h.Write([]byte(operation + "\x00" + path + "\x00"))
	h.Write(body)
	return Idempotency{Key: key, Hash: [sha256.Size]byte(h.Sum(nil))}
}

// creatingSecret is like creating, for responses with a secret. The stored response is sealed with the tenant's key, or the platform's.
func creatingSecret[T any](ctx context.Context, s *core, q *db.Queries, tenantID ID, idem Idempotency, create func() (ID, T, error)) (T, error) {
	var result T
	owner := "idempotency key " + idem.Key
	sealed, err := creating(ctx, q, tenantID, idem, func() (ID, []byte, error) {
		id, made, err := create()
		if err != nil {
			return id, nil, err
		}
		plain, err := json.Marshal(made)
		if err != nil {
			return id, nil, err
		}
		sealed, err := s.sealFor(ctx, q, tenantID, plain, owner)
		return id, sealed, err
	})
	if err != nil {
		return result, err
	}
	plain, err := s.openFor(ctx, q, tenantID, sealed, owner)
	if err != nil {
		return result, wrap(err, "the stored response for an idempotency key")
	}
	return result, json.Unmarshal(plain, &result)
}

// creating runs create once for an idempotency key, and returns the result of the first run for every repetition. The caller holds a
// lock that serialises the requests of this owner.
func creating[T any](ctx context.Context, q *db.Queries, owner ID, idem Idempotency, create func() (ID, T, error)) (T, error) {
	var result T
	known, err := q.FindIdempotencyKey(ctx, db.FindIdempotencyKeyParams{TenantID: owner, Key: idem.Key})
	switch {
	case err == nil && !bytes.Equal(known.RequestHash, idem.Hash[:]):
		return result, husk.Errorf(husk.CodeIdempotencyMismatch, "Idempotency-Key", "this key was used with another request; use a new key for a new request")
	case err == nil:
		return result, wrap(json.Unmarshal(known.Response, &result), "read the stored response for an idempotency key")
	case !errors.Is(err, pgx.ErrNoRows):
		return result, err
	}
	id, result, err := create()
	if err != nil {
		return result, err
	}
	response, err := json.Marshal(result)
	if err != nil {
		return result, err
	}
	return result, q.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
		TenantID: owner, Key: idem.Key, RequestHash: idem.Hash[:], ObjectID: id, Response: response,
	})
}

// ForgetIdempotencyKeys deletes keys older than 24 hours and returns how many.
func (c Control) ForgetIdempotencyKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetIdempotencyKeys(ctx) })
}
