// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// Node is the identity in a node's certificate.
type Node struct {
	ID     string
	Serial string // in hexadecimal digits
}

// ErrNoNode means that the peer has not authenticated as a node.
var ErrNoNode = errors.New("the peer has not presented a node's certificate")

// PeerNode returns which node is the peer of a connection. The caller must check whether the
// certificate was revoked.
func PeerNode(state *tls.ConnectionState) (Node, error) {
	// There are chains only if the handshake has verified them; a certificate alone proves nothing.
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return Node{}, ErrNoNode
	}
	return nodeOf(state.VerifiedChains[0][0])
}

// nodeOf reads a verified certificate.
func nodeOf(cert *x509.Certificate) (Node, error) {
	if len(cert.URIs) != 1 {
		return Node{}, ErrNoNode
	}
	id, ok := strings.CutPrefix(cert.URIs[0].String(), nodeScheme)
	if !ok || id == "" {
		return Node{}, ErrNoNode
	}
	return Node{ID: id, Serial: serialOf(cert)}, nil
}
