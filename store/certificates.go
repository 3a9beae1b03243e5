package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// authorityOwner is the additional data with which the authority's key is sealed.
const authorityOwner = "certificate authority"

// Authority is the installation's certificate authority as it is kept.
type Authority struct {
	Certificate string // PEM
	PrivateKey  []byte // PKCS #8
}

// CertificateAuthority returns the installation's authority. make is called for the first one ever; servers that start together agree on it.
func (s *Store) CertificateAuthority(ctx context.Context, make func() (Authority, error)) (Authority, error) {
	return inControl(ctx, s, func(q *db.Queries) (Authority, error) {
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
				Certificate: a.Certificate, PrivateKey: s.seal.seal(a.PrivateKey, authorityOwner),
			})
		}
		if err != nil {
			return Authority{}, err
		}
		key, old, err := s.seal.openNoting(row.PrivateKey, authorityOwner)
		if err == nil && old {
			err = q.ResealCertificateAuthority(ctx, s.seal.seal(key, authorityOwner))
		}
		return Authority{row.Certificate, key}, wrap(err, "key of the certificate authority")
	})
}

// IssuedCertificate is a certificate that was made for a node and is to be recorded.
type IssuedCertificate struct {
	Serial    string
	PEM       string
	ExpiresAt time.Time
}

// Issue makes a certificate for a node. It is called again when the transaction around it is.
type Issue func(node ID) (IssuedCertificate, error)

// record issues a certificate and writes it down: one that is not in the database is worth nothing. The node's row is locked.
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

// AuthenticateNode tells whether a node's certificate is one that was issued, has not been revoked and has not expired. Codes: unauthenticated.
func (s *Store) AuthenticateNode(ctx context.Context, node ID, serial string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) { return struct{}{}, goodCertificate(ctx, q, node, serial) })
	return err
}

func goodCertificate(ctx context.Context, q *db.Queries, node ID, serial string) error {
	good, err := q.NodeCertificateIsGood(ctx, db.NodeCertificateIsGoodParams{Serial: serial, NodeID: node})
	if err == nil && !good {
		err = husk.Errorf(husk.CodeUnauthenticated, "",
			"the certificate %s of node %s was revoked or has expired; join again with a token that re-admits the node", serial, node)
	}
	return err
}

// RenewCertificate issues another certificate to a node that shows one. The old one stays good until it expires, because the answer
// may be lost. Codes: unauthenticated.
func (s *Store) RenewCertificate(ctx context.Context, node ID, serial string, issue Issue) (IssuedCertificate, error) {
	return inControl(ctx, s, func(q *db.Queries) (IssuedCertificate, error) {
		// Revoking takes the same lock: what is revoked meanwhile gets no successor.
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

// NodeCertificates lists what was issued to a node, oldest first. Codes: not_found.
func (s *Store) NodeCertificates(ctx context.Context, node ID) ([]husk.NodeCertificate, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.NodeCertificate, error) {
		if _, err := q.Node(ctx, node); err != nil {
			return nil, orNotFound(err, "node")
		}
		rows, err := q.NodeCertificates(ctx, node)
		return convertAll(rows, func(c db.NodeCertificate) husk.NodeCertificate {
			return husk.NodeCertificate{Serial: c.Serial, CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, RevokedAt: c.RevokedAt}
		}), err
	})
}

// CertificateExpiries says by the node's name when the last of its certificates expires, without those that were revoked.
func (s *Store) CertificateExpiries(ctx context.Context) (map[string]time.Time, error) {
	return inControl(ctx, s, func(q *db.Queries) (map[string]time.Time, error) {
		rows, err := q.CertificateExpiries(ctx)
		expiries := make(map[string]time.Time, len(rows))
		for _, r := range rows {
			expiries[r.Name] = r.ExpiresAt
		}
		return expiries, err
	})
}

// RevokeNodeCertificates ends every certificate of a node: its agent is refused from the next request on. Codes: not_found.
func (s *Store) RevokeNodeCertificates(ctx context.Context, node ID) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		if _, err := q.LockNode(ctx, node); err != nil {
			return struct{}{}, orNotFound(err, "node")
		}
		if err := q.RevokeNodeCertificates(ctx, node); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, audit(ctx, q, platform, "node", node.String())
	})
	return err
}
