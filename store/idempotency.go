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

// serverKey begins the keys that the server makes. It retries for seconds, so they are not kept long. No header begins with a tab.
const serverKey = "\tserver:"

// NewIdempotency returns the identity of a request. Operation and path are part of it, so one key identifies one request only.
func NewIdempotency(key, operation, path string, body []byte) Idempotency {
	if key == "" {
		key = serverKey + uuid.NewString()
	}
	h := sha256.New()
	h.Write([]byte(operation + "\x00" + path + "\x00"))
	h.Write(body)
	return Idempotency{Key: key, Hash: [sha256.Size]byte(h.Sum(nil))}
}

// creating runs create once for an idempotency key, and returns its result. For every repetition it returns what again reads: the object as
// it is now. The caller holds a lock that serialises the requests of this owner. Codes: idempotency_mismatch, not_found (the object was
// deleted meanwhile).
func creating[T any](ctx context.Context, q *db.Queries, owner ID, idem Idempotency, create func() (ID, T, error), again func(id ID) (T, error)) (T, error) {
	var result T
	known, err := findKey(ctx, q, owner, idem)
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
	return result, keepKey(ctx, q, owner, idem, id, nil)
}

// creatingSealed is like creating, for responses that cannot be read again: they contain a secret, or are about a moment. The key keeps the
// response, sealed with the tenant's key or the platform's.
func creatingSealed[T any](ctx context.Context, s *core, q *db.Queries, owner ID, idem Idempotency, create func() (ID, T, error)) (T, error) {
	var result T
	sealedFor := "idempotency key " + idem.Key
	known, err := findKey(ctx, q, owner, idem)
	if err != nil {
		return result, err
	}
	if known != nil {
		var sealed []byte
		if err := json.Unmarshal(known.Response, &sealed); err != nil {
			return result, wrap(err, "the stored response for an idempotency key")
		}
		plain, err := s.keys.Open(ctx, q, owner, sealed, sealedFor)
		if err != nil {
			return result, wrap(err, "the stored response for an idempotency key")
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
	sealed, err := s.keys.Seal(ctx, q, owner, plain, sealedFor)
	if err != nil {
		return result, err
	}
	response, err := json.Marshal(sealed)
	if err != nil {
		return result, err
	}
	return result, keepKey(ctx, q, owner, idem, id, response)
}

// findKey returns what is kept for the key, and nil if it is new. Codes: idempotency_mismatch.
func findKey(ctx context.Context, q *db.Queries, owner ID, idem Idempotency) (*db.IdempotencyKey, error) {
	known, err := q.FindIdempotencyKey(ctx, db.FindIdempotencyKeyParams{TenantID: owner, Key: idem.Key})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(known.RequestHash, idem.Hash[:]):
		return nil, husk.Errorf(husk.CodeIdempotencyMismatch, "Idempotency-Key", "this key was used with another request; use a new key for a new request")
	}
	return &known, nil
}

func keepKey(ctx context.Context, q *db.Queries, owner ID, idem Idempotency, object ID, response []byte) error {
	return q.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
		TenantID: owner, Key: idem.Key, RequestHash: idem.Hash[:], ObjectID: object, Response: response,
	})
}

// ForgetIdempotencyKeys deletes keys older than 24 hours, and those that the server itself made after 10 minutes, and returns how many.
func (c Control) ForgetIdempotencyKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetIdempotencyKeys(ctx) })
}
