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

// Idempotency identifies one request, so that its repetition is recognised. A request whose sender gave no key gets a random one:
// that settles a commit whose outcome the server itself does not know.
type Idempotency struct {
	Key  string
	Hash [sha256.Size]byte // of the operation and the body
}

// NewIdempotency makes the identity of a request. The operation is part of it: one key is good for one operation.
func NewIdempotency(key, operation string, body []byte) Idempotency {
	if key == "" {
		key = "server:" + uuid.NewString()
	}
	h := sha256.New()
	h.Write([]byte(operation))
	h.Write([]byte{0})
	h.Write(body)
	return Idempotency{Key: key, Hash: [sha256.Size]byte(h.Sum(nil))}
}

// creating runs create once for an idempotency key, and answers every repetition with what the first run returned. The caller holds
// a lock that orders the requests of this owner.
func creating[T any](ctx context.Context, q *db.Queries, owner ID, idem Idempotency, create func() (ID, T, error)) (T, error) {
	var result T
	known, err := q.FindIdempotencyKey(ctx, db.FindIdempotencyKeyParams{TenantID: owner, Key: idem.Key})
	switch {
	case err == nil && !bytes.Equal(known.RequestHash, idem.Hash[:]):
		return result, husk.Errorf(husk.CodeIdempotencyMismatch, "Idempotency-Key", "this key was used with another request; use a new key for a new request")
	case err == nil:
		return result, wrap(json.Unmarshal(known.Response, &result), "read the answer kept for an idempotency key")
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

// ForgetIdempotencyKeys removes keys older than 24 hours and returns how many.
func (s *Store) ForgetIdempotencyKeys(ctx context.Context) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) { return q.ForgetIdempotencyKeys(ctx) })
}
