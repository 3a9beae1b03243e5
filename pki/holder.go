// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Holder has the certificate that one end presents. The certificate can be replaced while there are
// connections.
type Holder interface {
	// certificate returns the current certificate.
	certificate() (*tls.Certificate, error)
}

// NodeHolder has a node's certificate.
type NodeHolder struct {
	current atomic.Pointer[tls.Certificate]
}

// Replace sets another certificate, which is presented from the next handshake on.
func (h *NodeHolder) Replace(cert *tls.Certificate) { h.current.Store(cert) }

func (h *NodeHolder) certificate() (*tls.Certificate, error) {
	if c := h.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// NodeCertificate combines a node's key with its certificate. It refuses a certificate for another
// key or node, of another authority, or one that has expired.
func NodeCertificate(root *Root, node, certificatePEM, keyPEM string) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair([]byte(certificatePEM), []byte(keyPEM))
	if err != nil {
		return nil, fmt.Errorf("certificate of node %s: %w", node, err)
	}
	if err := root.verify(cert.Leaf, node, clientUse); err != nil {
		return nil, fmt.Errorf("certificate of node %s: %w", node, err)
	}
	return &cert, nil
}

// RenewAt returns when a certificate should be renewed: after two thirds of its validity, which
// leaves a third for retries.
func RenewAt(cert *tls.Certificate) time.Time {
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore.Add(backdate))
	return cert.Leaf.NotAfter.Add(-life / 3)
}

// serverLife is short, because it costs a server nothing to make another.
const serverLife = 24 * time.Hour

// ServerHolder has a server's certificate, and makes another after two thirds of its validity.
type ServerHolder struct {
	authority *Authority
	life      time.Duration

	mu      sync.Mutex
	current *tls.Certificate
}

// NewServerHolder makes the first certificate.
func NewServerHolder(a *Authority) (*ServerHolder, error) {
	h := &ServerHolder{authority: a, life: serverLife}
	_, err := h.certificate()
	return h, err
}

func (h *ServerHolder) certificate() (*tls.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil && time.Now().Before(RenewAt(h.current)) {
		return h.current, nil
	}
	c, err := h.authority.issueServer(h.life)
	if err == nil {
		h.current = c
	}
	return c, err
}
