package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// Node is what a node's certificate says.
type Node struct {
	ID     string
	Serial string // in hexadecimal digits
}

// ErrNoNode says that the other side has not proved to be a node.
var ErrNoNode = errors.New("the other side has shown no certificate of a node")

// PeerNode returns which node is at the other end of a connection. Whether the certificate was revoked is for the caller to look up.
func PeerNode(state *tls.ConnectionState) (Node, error) {
	// Chains are there only when the handshake has verified them; a certificate alone proves nothing.
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return Node{}, ErrNoNode
	}
	return nodeOf(state.VerifiedChains[0][0])
}

// nodeOf reads a certificate that was verified.
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
