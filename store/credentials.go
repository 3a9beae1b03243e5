package store

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

func hashSecret(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

func credentialOf(c db.Credential) husk.Credential {
	return husk.Credential{ClientID: c.ClientID, Name: c.Name, CreatedAt: c.CreatedAt, LastUsed: c.LastUsedAt}
}

// CreateTenantKey makes an API key of a tenant and returns it with its secret, which is not kept. Codes: not_found (tenant).
func (s *Store) CreateTenantKey(ctx context.Context, tenantID ID, name string) (husk.Credential, error) {
	id, secret := uuid.New(), NewSecret() // the same in every try, so that a lost answer of a commit leaves no second key
	return inControl(ctx, s, func(q *db.Queries) (husk.Credential, error) {
		if _, err := tenant(ctx, q, tenantID); err != nil {
			return husk.Credential{}, err
		}
		return insertCredential(ctx, q, db.InsertCredentialParams{ClientID: id, Kind: husk.CallerTenant, TenantID: &tenantID, Name: name}, secret)
	})
}

// EnsureOperator makes the operator's credential with the given id and secret unless it is there already. A server is given the
// first operator by its configuration, and every later credential is made through the API.
func (s *Store) EnsureOperator(ctx context.Context, clientID ID, secret string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (husk.Credential, error) {
		if err := q.LockOperators(ctx); err != nil {
			return husk.Credential{}, err
		}
		exists, err := q.CredentialExists(ctx, db.CredentialExistsParams{ClientID: clientID, Kind: husk.CallerOperator})
		if err != nil || exists {
			return husk.Credential{}, err
		}
		return insertCredential(ctx, q, db.InsertCredentialParams{ClientID: clientID, Kind: husk.CallerOperator, Name: "first-operator"}, secret)
	})
	return err
}

func insertCredential(ctx context.Context, q *db.Queries, p db.InsertCredentialParams, secret string) (husk.Credential, error) {
	if p.ClientID == uuid.Nil {
		p.ClientID = uuid.New()
	}
	if secret == "" {
		secret = NewSecret()
	}
	p.SecretHash = hashSecret(secret)
	row, err := q.InsertCredential(ctx, p)
	if err != nil {
		return husk.Credential{}, err
	}
	c := credentialOf(row)
	c.Secret = secret
	return c, nil
}

// TenantKeys lists a tenant's API keys. Codes: not_found (tenant).
func (s *Store) TenantKeys(ctx context.Context, tenantID ID) ([]husk.Credential, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.Credential, error) {
		if _, err := tenant(ctx, q, tenantID); err != nil {
			return nil, err
		}
		rows, err := q.TenantCredentials(ctx, tenantID)
		return convertAll(rows, credentialOf), err
	})
}

// DeleteTenantKey revokes an API key: it gets no more tokens. Codes: not_found.
func (s *Store) DeleteTenantKey(ctx context.Context, tenantID, clientID ID) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		n, err := q.DeleteTenantCredential(ctx, db.DeleteTenantCredentialParams{TenantID: tenantID, ClientID: clientID})
		if err == nil && n == 0 {
			err = husk.NotFound("API key")
		}
		return struct{}{}, err
	})
	return err
}

// Authenticate returns who a client id and secret belong to. Codes: unauthenticated, the same for an unknown id and a wrong secret.
func (s *Store) Authenticate(ctx context.Context, clientID ID, secret string) (husk.Caller, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Caller, error) {
		row, err := q.UseCredential(ctx, db.UseCredentialParams{ClientID: clientID, SecretHash: hashSecret(secret)})
		if husk.CodeOf(orNotFound(err, "credential")) == husk.CodeNotFound {
			return husk.Caller{}, husk.Errorf(husk.CodeUnauthenticated, "", "unknown client id or wrong secret")
		}
		if err != nil {
			return husk.Caller{}, err
		}
		caller := husk.Caller{Kind: row.Kind, ClientID: row.ClientID}
		if row.TenantID != nil {
			caller.TenantID = *row.TenantID
		}
		return caller, nil
	})
}

// SigningKey is a key that signs tokens.
type SigningKey struct {
	ID        string
	Private   []byte // Ed25519 seed
	Public    []byte
	CreatedAt time.Time
}

// SigningKeys returns the keys that sign tokens, newest first. make is called for the first one ever; servers that start together agree on it.
func (s *Store) SigningKeys(ctx context.Context, make func() (SigningKey, error)) ([]SigningKey, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]SigningKey, error) {
		if err := q.LockOperators(ctx); err != nil {
			return nil, err
		}
		rows, err := q.SigningKeys(ctx)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			key, err := make()
			if err != nil {
				return nil, err
			}
			sealed := s.seal.seal(key.Private, "signing key "+key.ID)
			return []SigningKey{key}, q.InsertSigningKey(ctx, db.InsertSigningKeyParams{Kid: key.ID, PrivateKey: sealed, PublicKey: key.Public})
		}
		keys := []SigningKey{}
		for _, r := range rows {
			private, err := s.seal.open(r.PrivateKey, "signing key "+r.Kid)
			if err != nil {
				return nil, wrap(err, "signing key %s", r.Kid)
			}
			keys = append(keys, SigningKey{ID: r.Kid, Private: private, Public: r.PublicKey, CreatedAt: r.CreatedAt})
		}
		return keys, nil
	})
}

func convertAll[A, B any](from []A, convert func(A) B) []B {
	to := make([]B, 0, len(from))
	for _, a := range from {
		to = append(to, convert(a))
	}
	return to
}
