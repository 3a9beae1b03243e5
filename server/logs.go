package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"husk"
	"husk/openapi"
	"husk/store"
)

// NodeAudience is the audience of a token with which a server speaks to a node's agent.
func NodeAudience(node store.ID) string { return "node:" + node.String() }

// agentClients keeps one HTTP client per node and certificate, so that connections are reused.
type agentClients struct {
	mu      sync.Mutex
	clients map[store.ID]agentClient
}

type agentClient struct {
	certificate string
	http        *http.Client
}

func newAgentClients() *agentClients { return &agentClients{clients: map[store.ID]agentClient{}} }

// to returns a client that trusts the node's own certificate and no other.
func (a *agentClients) to(n husk.Node) (*http.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.clients[n.ID]; ok && c.certificate == n.Certificate {
		return c.http, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(n.Certificate)) {
		return nil, fmt.Errorf("node %s has reported no usable certificate", n.Name)
	}
	c := &http.Client{Transport: &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: roots, ServerName: n.ID.String(), MinVersion: tls.VersionTLS13},
		ResponseHeaderTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16,
	}}
	a.clients[n.ID] = agentClient{n.Certificate, c}
	return c, nil
}

// GetPodLogs passes the request on to the agent of the pod's node, which serves the same operation for its own pods.
func (a api) GetPodLogs(ctx context.Context, r openapi.GetPodLogsRequestObject) (openapi.GetPodLogsResponseObject, error) {
	tenant := requestOf(ctx).caller.TenantID
	pod, err := a.store.Pod(ctx, tenant, r.PodID)
	if err != nil {
		return nil, err
	}
	container, err := chooseContainer(pod, r.Params.Container)
	if err != nil {
		return nil, err
	}
	node, placed, err := a.store.NodeOfPod(ctx, tenant, r.PodID)
	if err != nil {
		return nil, err
	}
	if !placed {
		return nil, husk.Errorf(husk.CodeLogsUnavailable, "", "pod %q is not placed yet, so nothing was logged: %s", pod.Name, pod.Status.Message)
	}
	r.Params.Container = &container
	resp, err := a.askAgent(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.GetPodLogs(ctx, r.PodID, &r.Params) }) //nolint:bodyclose // proxied closes it
	if err != nil {
		return nil, errors.Join(husk.Errorf(husk.CodeLogsUnavailable, "", "node %s, which keeps this log, does not answer; try again", node.Name), err)
	}
	return proxied{resp}, nil
}

func chooseContainer(pod husk.Pod, asked *string) (string, error) {
	if asked == nil {
		if len(pod.Spec.Containers) > 1 {
			return "", husk.Errorf(husk.CodeInvalid, "container", "the pod has %d containers; say which", len(pod.Spec.Containers))
		}
		return pod.Spec.Containers[0].Name, nil
	}
	for _, c := range pod.Spec.Containers {
		if c.Name == *asked {
			return *asked, nil
		}
	}
	return "", husk.Errorf(husk.CodeInvalid, "container", "the pod has no container named %q", *asked)
}

// askAgent calls an agent and returns its answer when it is a good one.
func (s *Server) askAgent(ctx context.Context, node husk.Node, call func(*openapi.Client) (*http.Response, error)) (*http.Response, error) {
	transport, err := s.agents.to(node)
	if err != nil {
		return nil, err
	}
	token, err := s.tokens.issue(ctx, husk.Caller{Kind: husk.CallerOperator}, NodeAudience(node.ID), time.Minute)
	if err != nil {
		return nil, err
	}
	client, err := openapi.NewClient(node.Endpoint, openapi.WithHTTPClient(transport), openapi.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
	if err != nil {
		return nil, err
	}
	resp, err := call(client)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) //nolint:errcheck // it only adds to an error
		return nil, errors.Join(fmt.Errorf("agent of node %s answers %s: %s", node.Name, resp.Status, text), resp.Body.Close())
	}
	return resp, nil
}

// proxied hands an agent's stream on, line by line as it comes.
type proxied struct{ resp *http.Response }

// VisitGetPodLogsResponse copies until the agent or the reader ends it.
func (p proxied) VisitGetPodLogsResponse(w http.ResponseWriter) error {
	defer p.resp.Body.Close()
	h := w.Header()
	h.Set("Content-Type", p.resp.Header.Get("Content-Type"))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff") // a tenant's log must never become a page
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := p.resp.Body.Read(buf)
		if n > 0 {
			if e := errors.Join(c.SetWriteDeadline(time.Now().Add(writeTimeout))); e != nil {
				return nil //nolint:nilerr // the reader has gone
			}
			if _, e := w.Write(buf[:n]); e != nil || c.Flush() != nil {
				return nil //nolint:nilerr // the reader has gone
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end; the header is sent, so there is nobody to tell
		}
	}
}
