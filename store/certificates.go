// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/access"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pgerr"
	"husk/store/repeats"
	"husk/store/seal"
)

// authorityOwner is the additional data with which the private key of the authority is sealed.
const authorityOwner = "certificate authority"

// Authority is the stored certificate authority of the installation.
type Authority struct {
	Certificate string // PEM
	PrivateKey  []byte // PKCS #8
}

// CertificateAuthority returns the installation's authority. It calls make if there is none yet; servers that start at the same time agree
// on one.
func (c Control) CertificateAuthority(ctx context.Context, make func() (Authority, error)) (Authority, error) {
	return inControl(ctx, c, func(q *db.Queries) (Authority, error) {
		if err := q.LockOperators(ctx); err != nil {
			return Authority{}, err
		}
		row, err := q.CertificateAuthority(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			a, err := make()
			if err != nil {
				return Authority{}, err
			}
			return a, q.InsertCertificateAuthority(ctx, db.InsertCertificateAuthorityParams{
				Certificate: a.Certificate, PrivateKey: c.keys.Master.Seal(a.PrivateKey, authorityOwner),
			})
		}
		if err != nil {
			return Authority{}, err
		}
		key, old, err := c.keys.Master.OpenNoting(row.PrivateKey, authorityOwner)
		if err == nil && old {
			err = q.ResealCertificateAuthority(ctx, c.keys.Master.Seal(key, authorityOwner))
		}
		return Authority{row.Certificate, key}, wrap(err, "key of the certificate authority")
	})
}

// IssuedCertificate is a certificate for a node.
type IssuedCertificate struct {
	Serial    string
	PEM       string
	ExpiresAt time.Time
}

// Issue issues a certificate for a node. It is called again when its transaction is retried.
type Issue func(node ID) (IssuedCertificate, error)

// record issues a certificate and stores it: the server accepts stored certificates only. The caller has locked the node's row.
func (issue Issue) record(ctx context.Context, q *db.Queries, node ID) (IssuedCertificate, error) {
	c, err := issue(node)
	if err != nil {
		return IssuedCertificate{}, err
	}
	if err := q.ForgetExpiredNodeCertificates(ctx, node); err != nil {
		return IssuedCertificate{}, err
	}
	return c, q.InsertNodeCertificate(ctx, db.InsertNodeCertificateParams{Serial: c.Serial, NodeID: node, ExpiresAt: c.ExpiresAt})
}

// AuthenticateNode checks that a node's certificate was issued by this installation, was not revoked and has not expired. Codes:
// unauthenticated.
func (c Control) AuthenticateNode(ctx context.Context, node ID, serial string) error {
	return controlDo(ctx, c, func(q *db.Queries) error { return goodCertificate(ctx, q, node, serial) })
}

func goodCertificate(ctx context.Context, q *db.Queries, node ID, serial string) error {
	good, err := q.NodeCertificateIsGood(ctx, db.NodeCertificateIsGoodParams{Serial: serial, NodeID: node})
	if err == nil && !good {
		err = husk.Errorf(husk.CodeUnauthenticated, "",
			"the certificate %s of node %s is unknown, revoked or expired; join again with a token that re-admits the node, or as a new node if it was deleted", serial, node)
	}
	return err
}

// RenewCertificate issues a new certificate to a node that has a valid one. The old one stays valid until it expires, because the response
// may be lost. Codes: unauthenticated.
func (c Control) RenewCertificate(ctx context.Context, node ID, serial string, issue Issue) (IssuedCertificate, error) {
	return inControl(ctx, c, func(q *db.Queries) (IssuedCertificate, error) {
		// Revoking takes the same lock, so a revoked certificate cannot be renewed at the same time.
		if _, err := q.LockNode(ctx, node); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return IssuedCertificate{}, err
		}
		if err := goodCertificate(ctx, q, node, serial); err != nil {
			return IssuedCertificate{}, err
		}
		c, err := issue.record(ctx, q, node)
		if err != nil {
			return IssuedCertificate{}, err
		}
		return c, audit(ctx, q, platform, "certificate", c.Serial)
	})
}

// NodeCertificates lists the certificates that were issued to a node, oldest first. Codes: not_found.
func (c Control) NodeCertificates(ctx context.Context, node ID) ([]husk.NodeCertificate, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.NodeCertificate, error) {
		if _, err := q.Node(ctx, node); err != nil {
			return nil, pgerr.NotFound(err, "node")
		}
		rows, err := q.NodeCertificates(ctx, node)
		return convert.All(rows, func(c db.NodeCertificate) husk.NodeCertificate {
			return husk.NodeCertificate{Serial: c.Serial, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, RevokedAt: c.RevokedAt}
		}), err
	})
}

// CertificateExpiries returns the expiry time of each node's newest certificate, by node name. Revoked certificates do not count.
func (c Control) CertificateExpiries(ctx context.Context) (map[string]time.Time, error) {
	return inControl(ctx, c, func(q *db.Queries) (map[string]time.Time, error) {
		rows, err := q.CertificateExpiries(ctx)
		expiries := make(map[string]time.Time, len(rows))
		for _, r := range rows {
			expiries[r.Name] = r.ExpiresAt
		}
		return expiries, err
	})
}

// RevokeNodeCertificates revokes every certificate of a node. Its agent is refused from the next request on. Codes: not_found.
func (c Control) RevokeNodeCertificates(ctx context.Context, node ID) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		if _, err := q.LockNode(ctx, node); err != nil {
			return pgerr.NotFound(err, "node")
		}
		if err := q.RevokeNodeCertificates(ctx, node); err != nil {
			return err
		}
		return audit(ctx, q, platform, "node", node.String())
	})
}

// JoinToken is a secret that allows one node to join.
type JoinToken struct {
	Secret    string
	ExpiresAt time.Time
}

// CreateJoinToken creates a secret that allows one node to join. The database keeps its hash, and the sealed secret for one day in case
// the request is repeated. With readmits, the token is for that existing node, which has lost its certificate; without, it is for a new
// node. Codes: not_found (node), idempotency_mismatch.
func (c Control) CreateJoinToken(ctx context.Context, idem Idempotency, life time.Duration, readmits *ID) (JoinToken, error) {
	return inControl(ctx, c, func(q *db.Queries) (JoinToken, error) {
		if err := q.LockOperators(ctx); err != nil {
			return JoinToken{}, err
		}
		return repeats.OnceSealed(ctx, q, &c.keys, platform, idem, func() (ID, JoinToken, error) {
			t, id := JoinToken{seal.NewSecret(), time.Now().Add(life)}, uuid.New()
			if readmits != nil {
				if _, err := q.LockNode(ctx, *readmits); err != nil { // so that it is not deleted meanwhile
					return id, t, pgerr.NotFound(err, "node")
				}
			}
			if err := q.InsertJoinToken(ctx, db.InsertJoinTokenParams{Hash: access.Hash(t.Secret), ExpiresAt: t.ExpiresAt, Readmits: readmits}); err != nil {
				return id, t, err
			}
			return id, t, audit(ctx, q, platform, "joinToken", id.String())
		})
	})
}

// RegisterNode admits a node by its join token and issues a certificate; certificates that the node had before are revoked. Until the
// node's first heartbeat, a repetition with the same token and name admits it again, because the first response may have been lost. Codes:
// unauthenticated, name_taken, invalid (name of a node that is re-admitted), and the codes of issue.
func (c Control) RegisterNode(ctx context.Context, token, name string, issue Issue) (ID, IssuedCertificate, error) {
	type registered struct {
		id ID
		c  IssuedCertificate
	}
	r, err := inControl(ctx, c, func(q *db.Queries) (registered, error) {
		row, err := q.LockJoinToken(ctx, access.Hash(token))
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

// admitNode returns the node that a token admits under this name. The caller has locked the token's row.
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
		if pgerr.UniqueViolation(err, "nodes_name_key") {
			return uuid.Nil, husk.Errorf(husk.CodeNameTaken, "name",
				"a node named %q exists already; remove it first to replace it, or use a token that re-admits it if this is the same machine", name)
		}
		if err != nil {
			return uuid.Nil, err
		}
		return node.ID, q.UseJoinToken(ctx, db.UseJoinTokenParams{Hash: token.Hash, NodeID: node.ID})
	}
}
