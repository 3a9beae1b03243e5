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

// ServerListener is for the server's end that agents call. A joining agent has no certificate yet, so one is verified when it is
// there and not demanded; PeerNode tells. Sessions are not resumed, so that every connection shows its certificate.
func ServerListener(root *Root, h Holder) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: root.pool, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.certificate() },
	}
}

// AgentClient is for an agent's calls to the server.
func AgentClient(root *Root, h Holder) *tls.Config { return client(root, h, serverName) }

// ServerClient is for a server's calls to the agent of a node.
func ServerClient(root *Root, h Holder, node string) *tls.Config { return client(root, h, node) }

func client(root *Root, h Holder, name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: root.pool, ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return h.certificate() },
	}
}

// AgentListener is for the agent's end, which only this installation's servers may call: the certificate of a node, though of the same
// authority, is refused.
func AgentListener(root *Root, h Holder) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.pool, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.certificate() },
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := root.verify(state.PeerCertificates[0], serverName, clientUse); err != nil {
				return fmt.Errorf("only this installation's servers may ask a node: %w", err)
			}
			return nil
		},
	}
}

// JoinClient is for an agent's first call to the server, whose authority it knows by the fingerprint only. The server sends its
// authority along; it must have the fingerprint and have issued the server's certificate.
func JoinClient(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverName,
		InsecureSkipVerify: true, //nolint:gosec // there is no root to verify against; VerifyConnection does it with the pinned one
		VerifyConnection: func(state tls.ConnectionState) error {
			root, err := pinned(state.PeerCertificates, fingerprint)
			if err != nil {
				return err
			}
			if err := root.verify(state.PeerCertificates[0], serverName, serverUse); err != nil {
				return fmt.Errorf("the server's certificate is not of the authority that the join token names: %w", err)
			}
			return nil
		},
	}
}

// ErrOtherInstallation says that the server was made known by another token. Asking again would not make it the right one.
var ErrOtherInstallation = errors.New("the server is not of the installation that the join token is for: its authority has another fingerprint")

func pinned(sent []*x509.Certificate, want string) (*Root, error) {
	for _, cert := range sent {
		if cert.IsCA && fingerprint(cert) == want {
			return newRoot(cert), nil
		}
	}
	return nil, ErrOtherInstallation
}
