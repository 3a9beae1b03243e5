// SPDX-License-Identifier: Apache-2.0

package simulated

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/pki"
)

// The same as those of a real agent.
const (
	pollWait       = 25 * time.Second
	requestTimeout = pollWait + 15*time.Second
)

// identity is a node's identity, in the format of a real agent.
type identity struct {
	NodeID         uuid.UUID `json:"nodeId"`
	CertificatePEM string    `json:"certificate"`
	KeyPEM         string    `json:"key"`
	AuthorityPEM   string    `json:"authority"`

	cert *tls.Certificate
	root *pki.Root
}

// readIdentity reads an identity and verifies it. With an error, it also returns the readable part.
func readIdentity(file string) (*identity, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the caller's own directory
	if err != nil {
		return nil, err
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, err
	}
	return &id, id.verify()
}

func (i *identity) verify() (err error) {
	if i.root, err = pki.ParseRoot(i.AuthorityPEM); err != nil {
		return err
	}
	i.cert, err = pki.NodeCertificate(i.root, i.NodeID.String(), i.CertificatePEM, i.KeyPEM)
	return err
}

func (i *identity) write(file string) error {
	raw, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// join exchanges a join token for an identity.
func join(ctx context.Context, url, token, name string) (*identity, error) {
	_, fingerprint, err := pki.SplitJoinToken(token)
	if err != nil {
		return nil, err
	}
	key, request, err := pki.NewRequest()
	if err != nil {
		return nil, err
	}
	client, stop, err := newClient(url, pki.JoinClient(fingerprint))
	if err != nil {
		return nil, err
	}
	defer stop()
	var made openapi.NodeIdentity
	for {
		made, _, err = decode[openapi.NodeIdentity](client.RegisterNode(ctx, openapi.NodeRegistration{Token: token, Name: name, CertificateRequest: request}))
		if refused, ok := errors.AsType[*refusedError](err); !ok || refused.status != http.StatusTooManyRequests {
			break // servers limit the logins from one address
		}
		pause(ctx, retryEvery)
	}
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	id := &identity{NodeID: made.NodeID, CertificatePEM: made.Certificate, KeyPEM: key, AuthorityPEM: made.Authority}
	return id, id.verify()
}

// newClient returns a client with connections of its own.
func newClient(url string, config *tls.Config) (client *agentclient.Client, stop func(), err error) {
	transport := &http.Transport{
		TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	client, err = agentclient.NewClient(url, agentclient.WithHTTPClient(&http.Client{Transport: transport, Timeout: requestTimeout}))
	return client, transport.CloseIdleConnections, err
}

// desired waits for a desired state that is newer than the known revision, or until the poll ends. bytes is the size of the responses.
func (a *agent) desired(ctx context.Context, after int64) (state husk.DesiredState, bytes int, err error) {
	wait := int(pollWait.Seconds())
	params := openapi.GetDesiredStateParams{After: &after, Changes: new(true), WaitSeconds: &wait}
	state, bytes, err = decode[husk.DesiredState](a.client.GetDesiredState(ctx, &params))
	params = openapi.GetDesiredStateParams{After: new(int64(-1)), Changes: new(true)}
	for err == nil && state.NextPod != nil {
		params.FromPod, state.NextPod = state.NextPod, nil
		var part husk.DesiredState
		var more int
		part, more, err = decode[husk.DesiredState](a.client.GetDesiredState(ctx, &params))
		state.Pods, state.NextPod, bytes = append(state.Pods, part.Pods...), part.NextPod, bytes+more
	}
	return state, bytes, err
}

// refusedError is a response of the server other than a success.
type refusedError struct {
	status int
	body   []byte
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the server responded %d %s: %s", e.status, http.StatusText(e.status), e.body)
}

// decode decodes a response of the server, and returns its size.
func decode[T any](resp *http.Response, err error) (v T, bytes int, _ error) {
	if err != nil {
		return v, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return v, 0, err
	case resp.StatusCode >= http.StatusMultipleChoices:
		return v, 0, &refusedError{resp.StatusCode, body}
	case resp.StatusCode == http.StatusNoContent:
		return v, 0, nil
	}
	return v, len(body), json.Unmarshal(body, &v)
}
