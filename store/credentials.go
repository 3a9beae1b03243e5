package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

func hashSecret(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

// EnsureOperator makes the operator's credential with the given id and secret unless it is there already. A server is given the
// first operator by its configuration.
func (s *Store) EnsureOperator(ctx context.Context, clientID ID, secret string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if err := q.LockOperators(ctx); err != nil {
			return struct{}{}, err
		}
		exists, err := q.CredentialExists(ctx, db.CredentialExistsParams{ClientID: clientID, Kind: husk.CallerOperator})
		if err != nil || exists {
			return struct{}{}, err
		}
		return struct{}{}, q.InsertCredential(ctx, db.InsertCredentialParams{
			ClientID: clientID, Kind: husk.CallerOperator, Name: "first-operator", SecretHash: hashSecret(secret),
		})
	})
	return err
}

// OperatorExists tells whether an operator's credential is still there.
func (s *Store) OperatorExists(ctx context.Context, clientID ID) (bool, error) {
	return inControl(ctx, s, func(q *db.Queries) (bool, error) {
		return q.CredentialExists(ctx, db.CredentialExistsParams{ClientID: clientID, Kind: husk.CallerOperator})
	})
}

// keyUseKept is how exactly the last use of a key is known: a write for every token would cost more than it tells.
const keyUseKept = time.Minute

// Authenticate returns who a client id and secret belong to. Codes: unauthenticated, the same for an unknown id, a wrong secret and
// a key that has expired.
func (s *Store) Authenticate(ctx context.Context, clientID ID, secret string) (husk.Caller, error) {
	hash := hashSecret(secret)
	return inControl(ctx, s, func(q *db.Queries) (husk.Caller, error) {
		key, err := q.UseAPIKey(ctx, db.UseAPIKeyParams{ClientID: clientID, SecretHash: hash})
		if err == nil {
			if key.LastUsedAt == nil || time.Since(*key.LastUsedAt) > keyUseKept {
				err = q.TouchAPIKey(ctx, db.TouchAPIKeyParams{TenantID: key.TenantID, ClientID: clientID})
			}
			return husk.Caller{
				Kind: husk.CallerTenant, ID: key.ServiceAccountID, KeyID: clientID, Name: key.AccountName, Role: key.Role, Limit: key.LimitedTo, TenantID: key.TenantID,
			}, err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return husk.Caller{}, err
		}
		row, err := q.UseCredential(ctx, db.UseCredentialParams{ClientID: clientID, SecretHash: hash})
		if errors.Is(err, pgx.ErrNoRows) {
			return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "unknown client id or wrong secret")
		}
		if err != nil {
			return husk.Caller{}, err
		}
		return husk.Caller{Kind: row.Kind, ID: row.ClientID, Name: row.Name}, nil
	})
}

func convertAll[A, B any](from []A, convert func(A) B) []B {
	to := make([]B, 0, len(from))
	for _, a := range from {
		to = append(to, convert(a))
	}
	return to
}
