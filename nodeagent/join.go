// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/pki"
)

// checkServerURL refuses a server without TLS.
func checkServerURL(url string) error {
	if !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("the server URL %q does not begin with https://; agents connect over mutual TLS: use the address of the server's --agent-listen", url)
	}
	return nil
}

// join exchanges the join token for an identity. It authenticates the server by the fingerprint in
// the token.
func join(ctx context.Context, cfg Config) (*identity, error) {
	_, fingerprint, err := pki.SplitJoinToken(cfg.JoinToken)
	if err != nil {
		return nil, err
	}
	key, request, err := pki.NewRequest()
	if err != nil {
		return nil, err
	}
	transport := newTransport(pki.JoinClient(fingerprint))
	defer transport.CloseIdleConnections()
	client, err := agentclient.NewClient(cfg.ServerURL, agentclient.WithHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second}), agentclient.WithRequestEditorFn(named))
	if err != nil {
		return nil, fmt.Errorf("server url: %w", err)
	}
	registration := openapi.NodeRegistration{Token: cfg.JoinToken, Name: cfg.NodeName, CertificateRequest: request}
	var wait backoff
	for {
		made, err := decode[openapi.NodeIdentity](fmt.Sprintf("join as %q", cfg.NodeName))(client.RegisterNode(ctx, registration))
		refusal, refused := errors.AsType[*refusedError](err)
		switch {
		case err == nil:
			return joined(made, key, fingerprint)
		case refused && refusal.status < http.StatusInternalServerError:
			return nil, err
		case errors.Is(err, pki.ErrOtherInstallation):
			return nil, fmt.Errorf("join at %s: %w", cfg.ServerURL, err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		cfg.Log.Info("the server does not respond yet; retrying", "server", cfg.ServerURL, "error", err)
		wait.sleep(ctx)
	}
}

// joined makes an identity from the server's response. Its authority must be the one that the token
// identifies.
func joined(answer openapi.NodeIdentity, key, fingerprint string) (*identity, error) {
	id := &identity{NodeID: answer.NodeID, CertificatePEM: answer.Certificate, KeyPEM: key, AuthorityPEM: answer.Authority}
	if err := id.verify(); err != nil {
		return nil, fmt.Errorf("invalid join response from the server: %w", err)
	}
	if id.root.Fingerprint() != fingerprint {
		return nil, fmt.Errorf("the server's join response: %w", pki.ErrOtherInstallation)
	}
	return id, nil
}
