// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

const (
	clientUse = x509.ExtKeyUsageClientAuth
	serverUse = x509.ExtKeyUsageServerAuth
)

// ServerListener is for the server's listener for agents. A joining agent has no certificate yet.
// So a certificate is verified if there is one, but not required; PeerNode reports whether a node
// has authenticated. TLS sessions are not resumed, so each connection presents its certificate.
func ServerListener(root *Root, h Holder) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: root.pool, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.certificate() },
	}
}

// AgentClient is for an agent's requests to the server.
func AgentClient(root *Root, h Holder) *tls.Config { return client(root, h, serverName) }

// ServerClient is for a server's requests to the agent of a node.
func ServerClient(root *Root, h Holder, node string) *tls.Config { return client(root, h, node) }

func client(root *Root, h Holder, name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: root.pool, ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return h.certificate() },
	}
}

// AgentListener is for the agent's listener, to which this installation's servers and nodes connect. PeerIsServer and PeerNode tell them apart.
func AgentListener(root *Root, h Holder) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.pool, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.certificate() },
		VerifyConnection: func(state tls.ConnectionState) error {
			cert := state.PeerCertificates[0]
			err := root.verify(cert, serverName, clientUse)
			if node, e := nodeOf(cert); err != nil && e == nil {
				err = root.verify(cert, node.ID, clientUse)
			}
			if err != nil {
				return fmt.Errorf("only this installation's servers and nodes may connect to a node: %w", err)
			}
			return nil
		},
	}
}

// PeerIsServer reports whether the peer of a connection to an agent is a server of the installation.
func PeerIsServer(state *tls.ConnectionState) bool {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return false
	}
	cert := state.VerifiedChains[0][0]
	_, err := nodeOf(cert)
	return err != nil && cert.VerifyHostname(serverName) == nil
}

// JoinClient is for an agent's first request to the server. The agent knows only the fingerprint of
// the server's authority. The server also sends the authority's certificate, which must have this
// fingerprint and must have issued the server's certificate.
func JoinClient(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverName,
		InsecureSkipVerify: true, //nolint:gosec // there is no known root; VerifyConnection verifies with the pinned one
		VerifyConnection: func(state tls.ConnectionState) error {
			root, err := pinned(state.PeerCertificates, fingerprint)
			if err != nil {
				return err
			}
			if err := root.verify(state.PeerCertificates[0], serverName, serverUse); err != nil {
				return fmt.Errorf("the server's certificate was not issued by the authority in the join token: %w", err)
			}
			return nil
		},
	}
}

// ErrOtherInstallation means that the token is for another server. A retry does not help.
var ErrOtherInstallation = errors.New("the join token is for another installation: the server's authority has another fingerprint; get a join token from this server")

func pinned(sent []*x509.Certificate, want string) (*Root, error) {
	for _, cert := range sent {
		if cert.IsCA && fingerprint(cert) == want {
			return newRoot(cert), nil
		}
	}
	return nil, ErrOtherInstallation
}
