// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"husk/nodeagent/network"
	"husk/pki"
)

// renewal replaces the node's certificate in the last third of its validity: first in the state
// directory, then in use. After a crash at any point, the agent has a key and a certificate that
// match, because the old ones stay valid until they expire.
type renewal struct {
	server *serverClient
	holder *pki.NodeHolder
	file   string
	tls    network.TLSFiles // for ovn-controller
	log    *slog.Logger

	id   *identity // the current one
	next *identity // issued by the server, but not stored yet
}

// run renews the certificate until ctx ends.
func (r *renewal) run(ctx context.Context) {
	for wait := time.Until(pki.RenewAt(r.id.cert)); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := r.renew(ctx)
		left := time.Until(r.id.cert.Leaf.NotAfter)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			r.log.Info("the node's certificate was renewed", "expires_at", r.id.cert.Leaf.NotAfter)
			wait = time.Until(pki.RenewAt(r.id.cert))
		case left > 0:
			wait = renewalRetry(left)
			r.log.Warn("the node's certificate was not renewed", "expires_at", r.id.cert.Leaf.NotAfter, "next_try", wait, "error", err)
		default:
			wait = renewalRetry(left)
			r.log.Error("the node's certificate has expired, so servers refuse this agent; start it with a join token that re-admits the node (husk node join-token NODE)",
				"expires_at", r.id.cert.Leaf.NotAfter, "error", err)
		}
	}
}

// renewalRetry is how long to wait after a failure: a tenth of the remaining validity, so that
// retries become more frequent towards the end. After the end they only help if a clock was wrong.
func renewalRetry(left time.Duration) time.Duration {
	if left <= 0 {
		return time.Minute
	}
	return min(max(left/10, time.Second), time.Hour)
}

// renew gets a certificate for a new key, stores both, and only then uses them. If storing a
// certificate failed, the next attempt stores it.
func (r *renewal) renew(ctx context.Context) error {
	if r.next == nil {
		key, request, err := pki.NewRequest()
		if err != nil {
			return err
		}
		renewed, err := r.server.renew(ctx, request)
		if err != nil {
			return err
		}
		// The authority stays the one that the join token identifies.
		next := &identity{NodeID: r.id.NodeID, CertificatePEM: renewed.Certificate, KeyPEM: key, AuthorityPEM: r.id.AuthorityPEM}
		if err := next.verify(); err != nil {
			return fmt.Errorf("invalid renewal response from the server: %w", err)
		}
		r.next = next
	}
	if err := errors.Join(r.next.keep(r.file), r.next.keepTLS(r.tls)); err != nil {
		return err
	}
	r.id, r.next = r.next, nil
	r.holder.Replace(r.id.cert)
	r.server.reconnect()
	return nil
}
