package nodeagent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
)

// serverClient is the API as the agent sees it, over mutual TLS.
type serverClient struct {
	api         *openapi.ClientWithResponses
	connections *connections
}

// pollWait is how long a request for the desired state stays open.
const pollWait = 25 * time.Second

func newServerClient(url string, root *pki.Root, holder *pki.NodeHolder) *serverClient {
	c := &connections{config: pki.AgentClient(root, holder)}
	c.renew()
	api, err := openapi.NewClientWithResponses(url, openapi.WithHTTPClient(&http.Client{Transport: c, Timeout: pollWait + 15*time.Second}))
	if err != nil {
		panic(err) // only an option can fail, and ours does not
	}
	return &serverClient{api, c}
}

// connections are the agent's to the server. A connection is admitted by the certificate that it was made with, so there are new ones
// for a new certificate.
type connections struct {
	config  *tls.Config
	current atomic.Pointer[http.Transport]
}

// renew lets requests under way end and makes new connections for the others.
func (c *connections) renew() {
	if old := c.current.Swap(newTransport(c.config)); old != nil {
		old.CloseIdleConnections() // and those that become idle, since the old transport gets no more requests
	}
}

// RoundTrip implements http.RoundTripper.
func (c *connections) RoundTrip(r *http.Request) (*http.Response, error) {
	return c.current.Load().RoundTrip(r)
}

func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
}

// reconnect makes the next request show the certificate that the holder has now.
func (s *serverClient) reconnect() { s.connections.renew() }

// close ends connections that nothing uses.
func (s *serverClient) close() { s.connections.current.Load().CloseIdleConnections() }

// renew asks for another certificate of this node.
func (s *serverClient) renew(ctx context.Context, request string) (openapi.RenewedCertificate, error) {
	resp, err := s.api.RenewCertificateWithResponse(ctx, openapi.CertificateRenewal{CertificateRequest: request})
	if err != nil {
		return openapi.RenewedCertificate{}, fmt.Errorf("ask for a certificate: %w", err)
	}
	if resp.JSON200 == nil {
		return openapi.RenewedCertificate{}, refused("another certificate", resp.HTTPResponse, resp.Body)
	}
	return *resp.JSON200, nil
}

// desired waits for a desired state above the revision that is known, or for the poll to run out.
func (s *serverClient) desired(ctx context.Context, after int64) (husk.DesiredState, error) {
	wait := int(pollWait.Seconds())
	resp, err := s.api.GetDesiredStateWithResponse(ctx, &openapi.GetDesiredStateParams{After: &after, WaitSeconds: &wait})
	if err != nil {
		return husk.DesiredState{}, fmt.Errorf("ask for the desired state: %w", err)
	}
	if resp.JSON200 == nil {
		return husk.DesiredState{}, refused("the desired state", resp.HTTPResponse, resp.Body)
	}
	return openapi.Recast[husk.DesiredState](resp.JSON200)
}

func (s *serverClient) heartbeat(ctx context.Context, h openapi.Heartbeat) (openapi.Lease, error) {
	resp, err := s.api.HeartbeatWithResponse(ctx, h)
	if err != nil {
		return openapi.Lease{}, fmt.Errorf("send a heartbeat: %w", err)
	}
	if resp.JSON200 == nil {
		return openapi.Lease{}, refused("a heartbeat", resp.HTTPResponse, resp.Body)
	}
	return *resp.JSON200, nil
}

func (s *serverClient) report(ctx context.Context, reports []husk.PodReport, runs []husk.MachineRun) error {
	pods, err := openapi.Recast[[]openapi.PodReport](reports)
	if err != nil {
		return err
	}
	lives, err := openapi.Recast[[]openapi.MachineRun](runs)
	if err != nil {
		return err
	}
	body := openapi.StatusReport{Pods: pods}
	if len(lives) > 0 {
		body.Runs = &lives
	}
	resp, err := s.api.ReportStatusWithResponse(ctx, body)
	if err != nil {
		return fmt.Errorf("report the status of %d pods and %d lives of machines: %w", len(reports), len(runs), err)
	}
	if resp.StatusCode() != http.StatusNoContent {
		return refused("a status report", resp.HTTPResponse, resp.Body)
	}
	return nil
}

// samples tells what pods use.
func (s *serverClient) samples(ctx context.Context, samples []husk.PodSample) error {
	pods, err := openapi.Recast[[]openapi.PodSample](samples)
	if err != nil {
		return err
	}
	resp, err := s.api.ReportSamplesWithResponse(ctx, openapi.SampleReport{Pods: pods})
	if err != nil {
		return fmt.Errorf("tell what %d pods use: %w", len(samples), err)
	}
	if resp.StatusCode() != http.StatusNoContent {
		return refused("samples", resp.HTTPResponse, resp.Body)
	}
	return nil
}

var errRefused = errors.New("the server refuses")

func refused(what string, resp *http.Response, body []byte) error {
	return fmt.Errorf("%w %s: %s: %s", errRefused, what, resp.Status, body)
}
