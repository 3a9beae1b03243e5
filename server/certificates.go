package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/store"
)

// authority is the installation's certificate authority and this server's own certificate.
type authority struct {
	*pki.Authority
	own *pki.ServerHolder
}

// openAuthority reads the installation's authority, or makes it when this is the first server ever.
func openAuthority(ctx context.Context, s *store.Store) (*authority, error) {
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
	return &authority{a, own}, err
}

// AgentTLS is the TLS of the listener that agents speak to. The handler is the same as everywhere.
func (s *Server) AgentTLS() *tls.Config {
	return pki.ServerListener(s.authority.Root(), s.authority.own)
}

// issuer returns what issues a certificate for a request. Codes, when it is called: invalid.
func (s *Server) issuer(request string) store.Issue {
	return func(node store.ID) (store.IssuedCertificate, error) {
		c, err := s.authority.IssueNode(node.String(), request, s.cfg.NodeCertificateLife)
		if errors.Is(err, pki.ErrBadRequest) {
			return store.IssuedCertificate{}, husk.Errorf(husk.CodeInvalid, "certificateRequest", "%s", err)
		}
		return store.IssuedCertificate(c), err
	}
}

// verifyNode returns the node whose certificate the connection was made with. Codes: unauthenticated.
func (s *Server) verifyNode(ctx context.Context, connection *tls.ConnectionState) (store.ID, string, error) {
	refused := husk.Errorf(husk.CodeUnauthenticated, "", "a node's certificate is needed; agents have one and call the server's --agent-listen")
	peer, err := pki.PeerNode(connection)
	if err != nil {
		return uuid.Nil, "", refused
	}
	node, err := uuid.Parse(peer.ID)
	if err != nil {
		return uuid.Nil, "", refused
	}
	return node, peer.Serial, s.store.AuthenticateNode(ctx, node, peer.Serial)
}

// admitAgent lets in who shows a node's certificate. A token makes nobody an agent.
func (s *Server) admitAgent(r *http.Request, req *request) error {
	node, serial, err := s.verifyNode(r.Context(), r.TLS)
	if err != nil {
		return err
	}
	req.caller, req.certificate = husk.Caller{Kind: husk.CallerAgent, ID: node, NodeID: node, Name: "node " + node.String()}, serial
	return nil
}

// RenewCertificate gives the node of this certificate another one.
func (a api) RenewCertificate(ctx context.Context, r openapi.RenewCertificateRequestObject) (openapi.RenewCertificateResponseObject, error) {
	req := requestOf(ctx)
	c, err := a.store.RenewCertificate(ctx, req.caller.NodeID, req.certificate, a.issuer(r.Body.CertificateRequest))
	if err != nil {
		return nil, err
	}
	a.log.Info("renewed a node's certificate", "node", req.caller.NodeID, "serial", c.Serial, "expires_at", c.ExpiresAt)
	return openapi.RenewCertificate200JSONResponse{Certificate: c.PEM, Authority: a.authority.Root().PEM()}, nil
}

// ListNodeCertificates lists what was issued to a node.
func (a api) ListNodeCertificates(ctx context.Context, r openapi.ListNodeCertificatesRequestObject) (openapi.ListNodeCertificatesResponseObject, error) {
	certificates, err := a.store.NodeCertificates(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	items, _, err := listed[openapi.NodeCertificate](certificates, "")
	return openapi.ListNodeCertificates200JSONResponse{Items: items}, err
}

// RevokeNodeCertificates shuts a node out.
func (a api) RevokeNodeCertificates(ctx context.Context, r openapi.RevokeNodeCertificatesRequestObject) (openapi.RevokeNodeCertificatesResponseObject, error) {
	err := a.store.RevokeNodeCertificates(ctx, r.NodeID)
	if err == nil {
		a.log.Info("revoked a node's certificates", "node", r.NodeID)
	}
	return openapi.RevokeNodeCertificates204Response{}, err
}
