package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"husk/openapi"
	"husk/pki"
)

// checkServerURL refuses a server that would be spoken to in the clear.
func checkServerURL(url string) error {
	if !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("the server %q is not an https:// URL: agents speak to servers over mutual TLS, at the address of the server's --agent-listen", url)
	}
	return nil
}

// join shows the join token to the server, which it knows by the fingerprint in the token, and comes back with an identity.
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
	client, err := openapi.NewClientWithResponses(cfg.ServerURL, openapi.WithHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("server url: %w", err)
	}
	order := openapi.NodeRegistration{Token: cfg.JoinToken, Name: cfg.NodeName, CertificateRequest: request}
	var wait backoff
	for {
		resp, err := client.RegisterNodeWithResponse(ctx, order)
		switch {
		case err == nil && resp.JSON201 != nil:
			return joined(*resp.JSON201, key, fingerprint)
		case err == nil && resp.StatusCode() < 500:
			return nil, fmt.Errorf("join as %q: %s: %s", cfg.NodeName, resp.Status(), resp.Body)
		case errors.Is(err, pki.ErrOtherInstallation):
			return nil, fmt.Errorf("join at %s: %w", cfg.ServerURL, err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			err = refused("the join", resp.HTTPResponse, resp.Body)
		}
		cfg.Log.Info("the server does not answer yet", "server", cfg.ServerURL, "error", err)
		wait.sleep(ctx)
	}
}

// joined makes an identity of the server's answer, whose authority must be the one that the token names.
func joined(answer openapi.NodeIdentity, key, fingerprint string) (*identity, error) {
	id := &identity{NodeID: answer.NodeID, CertificatePEM: answer.Certificate, KeyPEM: key, AuthorityPEM: answer.Authority}
	if err := id.verify(); err != nil {
		return nil, fmt.Errorf("the server's answer to the join cannot be used: %w", err)
	}
	if id.root.Fingerprint() != fingerprint {
		return nil, fmt.Errorf("the server's answer to the join: %w", pki.ErrOtherInstallation)
	}
	return id, nil
}
