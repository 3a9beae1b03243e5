package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// JoinToken is the secret with which one node may join.
type JoinToken struct {
	Secret    string
	ExpiresAt time.Time
}

// CreateJoinToken makes the secret with which one node may join; its hash is kept, and the secret sealed for a day in case the request
// is repeated. With readmits it brings that node back, which has lost its certificate; without, it makes a new node. Codes: not_found
// (node), idempotency_mismatch.
func (s *Store) CreateJoinToken(ctx context.Context, idem Idempotency, life time.Duration, readmits *ID) (JoinToken, error) {
	return inControl(ctx, s, func(q *db.Queries) (JoinToken, error) {
		if err := q.LockOperators(ctx); err != nil {
			return JoinToken{}, err
		}
		return creatingSecret(ctx, s, q, platform, idem, func() (ID, JoinToken, error) {
			t, id := JoinToken{NewSecret(), time.Now().Add(life)}, uuid.New()
			if readmits != nil {
				if _, err := q.LockNode(ctx, *readmits); err != nil { // against its deletion meanwhile
					return id, t, orNotFound(err, "node")
				}
			}
			if err := q.InsertJoinToken(ctx, db.InsertJoinTokenParams{Hash: hashSecret(t.Secret), ExpiresAt: t.ExpiresAt, Readmits: readmits}); err != nil {
				return id, t, err
			}
			return id, t, audit(ctx, q, platform, "joinToken", id.String())
		})
	})
}

// RegisterNode admits a node by its join token and gives it a certificate; whatever certificates it had are revoked. The same token
// with the same name again, as long as no heartbeat has come, does so again: the first answer was lost. Codes: unauthenticated,
// name_taken, invalid (name of a node that is re-admitted), and what issue returns.
func (s *Store) RegisterNode(ctx context.Context, token, name string, issue Issue) (ID, IssuedCertificate, error) {
	type registered struct {
		id ID
		c  IssuedCertificate
	}
	r, err := inControl(ctx, s, func(q *db.Queries) (registered, error) {
		row, err := q.LockJoinToken(ctx, hashSecret(token))
		if errors.Is(err, pgx.ErrNoRows) {
			return registered{}, errJoinToken
		}
		if err != nil {
			return registered{}, err
		}
		id, err := admitNode(ctx, q, row, name)
		if err != nil {
			return registered{}, err
		}
		if err := q.RevokeNodeCertificates(ctx, id); err != nil {
			return registered{}, err
		}
		c, err := issue.record(ctx, q, id)
		if err != nil {
			return registered{}, err
		}
		// The token was the caller's only identity; now it is this node.
		node := husk.Caller{Kind: husk.CallerAgent, ID: id, NodeID: id, Name: name}
		return registered{id, c}, audit(asCaller(ctx, node), q, platform, "node", id.String())
	})
	return r.id, r.c, err
}

var errJoinToken = husk.Errorf(husk.CodeUnauthenticated, "token", "the join token is unknown, expired or used; ask an operator for a new one")

// admitNode returns the node that a token, whose row is locked, admits under the name.
func admitNode(ctx context.Context, q *db.Queries, token db.JoinToken, name string) (ID, error) {
	switch {
	case token.UsedAt != nil:
		if token.NodeID == nil {
			return uuid.Nil, errJoinToken // its node was deleted
		}
		node, err := q.LockNode(ctx, *token.NodeID)
		if err != nil {
			return uuid.Nil, err
		}
		if node.Name != name || node.HeartbeatAt != nil && !node.HeartbeatAt.Before(*token.UsedAt) {
			return uuid.Nil, errJoinToken
		}
		return node.ID, nil
	case token.Readmits != nil:
		node, err := q.LockNode(ctx, *token.Readmits)
		if err != nil {
			return uuid.Nil, err
		}
		if node.Name != name {
			return uuid.Nil, husk.Errorf(husk.CodeInvalid, "name", "the join token re-admits the node %q; join under this name", node.Name)
		}
		return node.ID, q.UseJoinToken(ctx, db.UseJoinTokenParams{Hash: token.Hash, NodeID: node.ID})
	default:
		node, err := q.InsertNode(ctx, db.InsertNodeParams{ID: uuid.New(), Name: name})
		if uniqueViolation(err, "nodes_name_key") {
			return uuid.Nil, husk.Errorf(husk.CodeNameTaken, "name",
				"a node named %q exists already; remove it first if it is to be replaced, or join with a token that re-admits it if this is it", name)
		}
		if err != nil {
			return uuid.Nil, err
		}
		return node.ID, q.UseJoinToken(ctx, db.UseJoinTokenParams{Hash: token.Hash, NodeID: node.ID})
	}
}
