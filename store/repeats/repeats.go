// SPDX-License-Identifier: Apache-2.0

// Package repeats recognises repeated requests by their idempotency keys, in transactions of package store.
package repeats

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
	"husk/store/envelope"
)

// Key identifies one request, so that the store recognises a repetition. A request without an Idempotency-Key gets a random
// one, with which the server itself can retry after a commit with an unknown outcome.
type Key struct {
	Key  string
	Hash [sha256.Size]byte // of operation, path and body
}

// serverKey begins the keys that the server makes. It retries for seconds, so they are not kept long. No header begins with a tab.
const serverKey = "\tserver:"

// New returns the identity of a request. Operation and path are part of it, so one key identifies one request only.
func New(key, operation, path string, body []byte) Key {
	if key == "" {
		key = serverKey + uuid.NewString()
	}
	h := sha256.New()
	h.Write([]byte(operation + "\x00" + path + "\x00"))
	h.Write(body)
	return Key{Key: key, Hash: [sha256.Size]byte(h.Sum(nil))}
}

// Once runs create once for an idempotency key, and returns its result. For every repetition it returns what again reads: the object as
// it is now. The caller holds a lock that serialises the requests of this owner. Codes: idempotency_mismatch, not_found (the object was
// deleted meanwhile).
func Once[T any](ctx context.Context, q *db.Queries, owner uuid.UUID, key Key, create func() (uuid.UUID, T, error), again func(id uuid.UUID) (T, error)) (T, error) {
	var result T
	known, err := findKey(ctx, q, owner, key)
	if err != nil {
		return result, err
	}
	if known != nil {
		result, err = again(known.ObjectID)
		if errors.Is(err, pgx.ErrNoRows) || husk.CodeOf(err) == husk.CodeNotFound {
			err = husk.Errorf(husk.CodeNotFound, "Idempotency-Key", "the object that the first request with this key created was deleted; use a new key to create another")
		}
		return result, err
	}
	id, result, err := create()
	if err != nil {
		return result, err
	}
	return result, keepKey(ctx, q, owner, key, id, nil)
}

// OnceSealed is like Once, for responses that cannot be read again: they contain a secret, or are about a moment. The key keeps the
// response, sealed with the tenant's key or the platform's.
func OnceSealed[T any](ctx context.Context, q *db.Queries, keys *envelope.Keys, owner uuid.UUID, key Key, create func() (uuid.UUID, T, error)) (T, error) {
	var result T
	sealedFor := "idempotency key " + key.Key
	known, err := findKey(ctx, q, owner, key)
	if err != nil {
		return result, err
	}
	if known != nil {
		var sealed []byte
		if err := json.Unmarshal(known.Response, &sealed); err != nil {
			return result, fmt.Errorf("the stored response for an idempotency key: %w", err)
		}
		plain, err := keys.Open(ctx, q, owner, sealed, sealedFor)
		if err != nil {
			return result, fmt.Errorf("the stored response for an idempotency key: %w", err)
		}
		return result, json.Unmarshal(plain, &result)
	}
	id, result, err := create()
	if err != nil {
		return result, err
	}
	plain, err := json.Marshal(result)
	if err != nil {
		return result, err
	}
	sealed, err := keys.Seal(ctx, q, owner, plain, sealedFor)
	if err != nil {
		return result, err
	}
	response, err := json.Marshal(sealed)
	if err != nil {
		return result, err
	}
	return result, keepKey(ctx, q, owner, key, id, response)
}

// findKey returns what is kept for the key, and nil if it is new. Codes: idempotency_mismatch.
func findKey(ctx context.Context, q *db.Queries, owner uuid.UUID, key Key) (*db.IdempotencyKey, error) {
	known, err := q.FindIdempotencyKey(ctx, db.FindIdempotencyKeyParams{TenantID: owner, Key: key.Key})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(known.RequestHash, key.Hash[:]):
		return nil, husk.Errorf(husk.CodeIdempotencyMismatch, "Idempotency-Key", "this key was used with another request; use a new key for a new request")
	}
	return &known, nil
}

func keepKey(ctx context.Context, q *db.Queries, owner uuid.UUID, key Key, object uuid.UUID, response []byte) error {
	return q.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
		TenantID: owner, Key: key.Key, RequestHash: key.Hash[:], ObjectID: object, Response: response,
	})
}
