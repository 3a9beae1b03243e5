// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/pki"
	"husk/route"
	"husk/version"
)

// serverClient calls the agent's operations of the API, over mutual TLS.
type serverClient struct {
	api         *agentclient.Client
	connections *connections
}

// pollWait is how long a request for the desired state stays open.
const pollWait = 25 * time.Second

func newServerClient(url string, root *pki.Root, holder *pki.NodeHolder) *serverClient {
	c := &connections{config: pki.AgentClient(root, holder)}
	c.renew()
	api, err := agentclient.NewClient(url, agentclient.WithHTTPClient(&http.Client{Transport: c, Timeout: pollWait + 15*time.Second}), agentclient.WithRequestEditorFn(named))
	if err != nil {
		panic(err) // only an option can fail, and this one does not
	}
	return &serverClient{api, c}
}

// named sets the User-Agent header.
func named(_ context.Context, r *http.Request) error {
	r.Header.Set("User-Agent", version.UserAgent("husk-agent"))
	return nil
}

// connections are the agent's connections to the server. The server authenticates a connection by the certificate that it was opened with,
// so a new certificate needs new connections.
type connections struct {
	config  *tls.Config
	current atomic.Pointer[http.Transport]
}

// renew opens new connections for new requests, and lets the current requests end.
func (c *connections) renew() {
	if old := c.current.Swap(newTransport(c.config)); old != nil {
		old.CloseIdleConnections() // the rest become idle, since the old transport gets no new requests
	}
}

// RoundTrip implements http.RoundTripper.
func (c *connections) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.current.Load().RoundTrip(r)
}

func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		DialContext: route.Dialer(10 * time.Second).DialContext,
	}
}

// reconnect makes the next request use the current certificate of the holder.
func (s *serverClient) reconnect() { s.connections.renew() }

// close closes idle connections.
func (s *serverClient) close() { s.connections.current.Load().CloseIdleConnections() }

// renew asks for another certificate for this node.
func (s *serverClient) renew(ctx context.Context, request string) (openapi.RenewedCertificate, error) {
	return decode[openapi.RenewedCertificate]("renew the certificate")(
		s.api.RenewCertificate(ctx, openapi.CertificateRenewal{CertificateRequest: request}))
}

// desired waits for a desired state that is newer than the known revision, or until the poll ends. It returns only the changes since then, if the
// server knows them. A server of an earlier version ignores the parameter changes, and returns the whole state.
func (s *serverClient) desired(ctx context.Context, after int64, incarnation husk.Incarnation, patience time.Duration) (husk.DesiredState, error) {
	wait := int(patience.Seconds())
	params := openapi.GetDesiredStateParams{After: &after, Incarnation: new(string(incarnation)), Changes: new(true), WaitSeconds: &wait}
	state, err := decode[husk.DesiredState]("get the desired state")(s.api.GetDesiredState(ctx, &params))
	// The changes since the first part follow as changes, because its revision is kept.
	params = openapi.GetDesiredStateParams{After: new(int64(-1)), Changes: new(true)}
	for err == nil && state.NextPod != nil {
		params.FromPod, state.NextPod = state.NextPod, nil
		var part husk.DesiredState
		part, err = decode[husk.DesiredState]("get the next part of the desired state")(s.api.GetDesiredState(ctx, &params))
		state.Pods, state.NextPod = append(state.Pods, part.Pods...), part.NextPod
	}
	return state, err
}

func (s *serverClient) heartbeat(ctx context.Context, h openapi.Heartbeat) (openapi.Lease, error) {
	return decode[openapi.Lease]("send a heartbeat")(s.api.Heartbeat(ctx, h))
}

// report returns the items that were not recorded. A server of an earlier version ignores the parameter perItem, and records all items or
// none.
func (s *serverClient) report(ctx context.Context, reports []husk.PodReport, runs []husk.MachineRun) ([]openapi.ReportFailure, error) {
	pods, err := openapi.Recast[[]openapi.PodReport](reports)
	if err != nil {
		return nil, err
	}
	lives, err := openapi.Recast[[]openapi.MachineRun](runs)
	if err != nil {
		return nil, err
	}
	body := openapi.StatusReport{Pods: pods}
	if pods == nil {
		body.Pods = []openapi.PodReport{} // the contract requires the list
	}
	if len(lives) > 0 {
		body.Runs = &lives
	}
	what := fmt.Sprintf("report the status of %d pods and %d usage intervals", len(reports), len(runs))
	result, err := decode[openapi.ReportResult](what)(s.api.ReportStatus(ctx, &openapi.ReportStatusParams{PerItem: new(true)}, body))
	return result.Items, err
}

// samples reports what pods use.
func (s *serverClient) samples(ctx context.Context, samples []husk.PodSample) error {
	pods, err := openapi.Recast[[]openapi.PodSample](samples)
	if err != nil {
		return err
	}
	_, err = decode[struct{}](fmt.Sprintf("report samples of %d pods", len(samples)))(s.api.ReportSamples(ctx, openapi.SampleReport{Pods: pods}))
	return err
}

// refusedError is a response of the server other than a success.
type refusedError struct {
	what   string
	status int
	body   []byte
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("%s: the server responded %d %s: %s", e.what, e.status, http.StatusText(e.status), e.body)
}

// maxAnswer limits a response of the server, in bytes.
const maxAnswer = 64 << 20

// decode returns a function that decodes a response of the server. what describes the request, for
// errors.
func decode[T any](what string) func(*http.Response, error) (T, error) {
	return func(resp *http.Response, err error) (v T, _ error) {
		if err != nil {
			return v, fmt.Errorf("%s: %w", what, err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		switch {
		case err != nil:
			return v, fmt.Errorf("%s: read the response: %w", what, err)
		case resp.StatusCode >= http.StatusMultipleChoices:
			return v, &refusedError{what, resp.StatusCode, body}
		case resp.StatusCode == http.StatusNoContent:
			return v, nil
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return v, fmt.Errorf("%s: the response does not match the contract: %w", what, err)
		}
		return v, nil
	}
}

// decideMove ends a move, or asks how it has ended.
func (s *serverClient) decideMove(ctx context.Context, pod uuid.UUID, d openapi.MoveDecision) (openapi.MoveOutcome, error) {
	return decode[openapi.MoveOutcome]("decide about a move")(s.api.DecideMove(ctx, pod, d))
}
