// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/server/request"
	"husk/store"
)

// authority is the installation's certificate authority and this server's own certificate.
type authority struct {
	*pki.Authority
	own *pki.ServerHolder

	northbound    *pki.Authority // of OVN's northbound database
	northboundOwn *pki.ServerHolder
}

// openAuthority reads the installation's authority, or creates it if this is the first server ever.
func openAuthority(ctx context.Context, s store.Control) (*authority, error) {
	kept, err := s.CertificateAuthority(ctx, func() (store.Authority, error) {
		made, err := pki.NewAuthority()
		if err != nil {
			return store.Authority{}, err
		}
		key, err := made.PrivateKey()
		return store.Authority{Certificate: made.Root().PEM(), PrivateKey: key}, err
	})
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a, err := pki.OpenAuthority(kept.Certificate, kept.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	own, err := pki.NewServerHolder(a)
	if err != nil {
		return nil, err
	}
	northbound, err := a.Northbound()
	if err != nil {
		return nil, err
	}
	northboundOwn, err := pki.NewServerHolder(northbound)
	return &authority{a, own, northbound, northboundOwn}, err
}

// Central has the certificates of OVN's central part, and the authorities that issued them.
type Central struct {
	Southbound, Northbound                   pki.KeyPair
	SouthboundAuthority, NorthboundAuthority *pki.Root
}

// IssueCentral makes keys and certificates of OVN's central part. It creates the installation's authority if no server has run yet.
func IssueCentral(ctx context.Context, s store.Control, life time.Duration) (Central, error) {
	a, err := openAuthority(ctx, s)
	if err != nil {
		return Central{}, err
	}
	south, err1 := a.IssueCentral(life)
	north, err2 := a.northbound.IssueCentral(life)
	return Central{south, north, a.Root(), a.northbound.Root()}, errors.Join(err1, err2)
}

// NorthboundTLS returns the TLS configuration with which this server connects to OVN's northbound database.
func (a *Auth) NorthboundTLS() *tls.Config {
	return pki.NorthboundClient(a.authority.northbound.Root(), a.authority.northboundOwn)
}

// Root returns the certificate of the installation's authority.
func (a *Auth) Root() *pki.Root { return a.authority.Root() }

// ListenerTLS returns the TLS configuration of the listener that agents call. It has the same handler as the other
// listener.
func (a *Auth) ListenerTLS() *tls.Config {
	return pki.ServerListener(a.authority.Root(), a.authority.own)
}

// ClientTLS returns the TLS configuration with which this server calls the agent of this node only.
func (a *Auth) ClientTLS(node string) *tls.Config {
	return pki.ServerClient(a.authority.Root(), a.authority.own, node)
}

// CertificateFor returns a function that issues a node's certificate for a signing request. Codes of that function: invalid.
func (a *Auth) CertificateFor(signingRequest string) store.Issue {
	return func(node store.ID) (store.IssuedCertificate, error) {
		c, err := a.authority.IssueNode(node.String(), signingRequest, a.cfg.NodeCertificateLife)
		if errors.Is(err, pki.ErrBadRequest) {
			return store.IssuedCertificate{}, husk.Errorf(husk.CodeInvalid, "certificateRequest", "%s", err)
		}
		return store.IssuedCertificate(c), err
	}
}

// VerifyNode checks that a connection was made with a node's certificate that has not been revoked. Codes: unauthenticated.
func (a *Auth) VerifyNode(ctx context.Context, connection *tls.ConnectionState) error {
	_, _, err := a.node(ctx, connection)
	return err
}

// node returns the node and the serial of the certificate that a connection was made with. Codes: unauthenticated.
func (a *Auth) node(ctx context.Context, connection *tls.ConnectionState) (store.ID, string, error) {
	refused := husk.Errorf(husk.CodeUnauthenticated, "", "this operation requires a node's certificate; agents present it at the address of --agent-listen")
	peer, err := pki.PeerNode(connection)
	if err != nil {
		return uuid.Nil, "", refused
	}
	node, err := uuid.Parse(peer.ID)
	if err != nil {
		return uuid.Nil, "", refused
	}
	return node, peer.Serial, a.control.AuthenticateNode(ctx, node, peer.Serial)
}

// ByCertificate finds out which node's agent sent a request. A token does not make anybody an agent. Codes: unauthenticated.
func (a *Auth) ByCertificate(r *http.Request, req *request.Request) error {
	node, serial, err := a.node(r.Context(), r.TLS)
	if err != nil {
		return err
	}
	req.Caller, req.Certificate = husk.Caller{Kind: husk.CallerAgent, ID: node, NodeID: node, Name: "node " + node.String()}, serial
	return nil
}

// RenewCertificate issues a new certificate to the node that has authenticated with its old one.
func (a *Auth) RenewCertificate(ctx context.Context, r openapi.RenewCertificateRequestObject) (openapi.RenewCertificateResponseObject, error) {
	req := request.Of(ctx)
	c, err := a.control.RenewCertificate(ctx, req.Caller.NodeID, req.Certificate, a.CertificateFor(r.Body.CertificateRequest))
	if err != nil {
		return nil, err
	}
	a.log.Info("renewed a node's certificate", "node", req.Caller.NodeID, "serial", c.Serial, "expires_at", c.ExpiresAt)
	return openapi.RenewCertificate200JSONResponse{Certificate: c.PEM, Authority: a.authority.Root().PEM()}, nil
}

// ListNodeCertificates lists the certificates that were issued to a node.
func (a *Auth) ListNodeCertificates(ctx context.Context, r openapi.ListNodeCertificatesRequestObject) (openapi.ListNodeCertificatesResponseObject, error) {
	certificates, err := a.control.NodeCertificates(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	items, err := openapi.Recast[[]openapi.NodeCertificate](certificates)
	return openapi.ListNodeCertificates200JSONResponse{Items: items}, err
}

// RevokeNodeCertificates revokes every certificate of a node: its agent is refused from the next request on.
func (a *Auth) RevokeNodeCertificates(ctx context.Context, r openapi.RevokeNodeCertificatesRequestObject) (openapi.RevokeNodeCertificatesResponseObject, error) {
	err := a.control.RevokeNodeCertificates(ctx, r.NodeID)
	if err == nil {
		a.log.Info("revoked a node's certificates", "node", r.NodeID)
	}
	return openapi.RevokeNodeCertificates204Response{}, err
}
