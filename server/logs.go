package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/store"
)

// agentClients keeps one HTTP client per node, so that connections are reused.
type agentClients struct {
	authority *authority

	mu       sync.Mutex
	clients  map[store.ID]*http.Client
	sessions map[store.ID]*http.Client
}

func newAgentClients(a *authority) *agentClients {
	return &agentClients{authority: a, clients: map[store.ID]*http.Client{}, sessions: map[store.ID]*http.Client{}}
}

// to returns a client that speaks with the agent of this node and no other.
func (a *agentClients) to(node store.ID) *http.Client {
	return a.client(a.clients, node, 10*time.Second)
}

// session returns one that waits as long as a session may take to begin.
func (a *agentClients) session(node store.ID) *http.Client {
	return a.client(a.sessions, node, sessionStart)
}

func (a *agentClients) client(of map[store.ID]*http.Client, node store.ID, patience time.Duration) *http.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := of[node]
	if !ok {
		c = &http.Client{Transport: &http.Transport{
			TLSClientConfig:       pki.ServerClient(a.authority.Root(), a.authority.own, node.String()),
			ResponseHeaderTimeout: patience, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16,
		}}
		of[node] = c
	}
	return c
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
	return proxied{resp, func() error { _, err := a.store.Pod(ctx, tenant, r.PodID); return err }}, nil
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
	client, err := openapi.NewClient(node.Endpoint, openapi.WithHTTPClient(s.agents.to(node.ID)))
	if err != nil {
		return nil, err
	}
	resp, err := call(client)
	if err != nil {
		return nil, err
	}
	// The handshake has proved the authority's signature; whether the certificate was revoked is known here only.
	if _, _, err := s.verifyNode(ctx, resp.TLS); err != nil {
		return nil, errors.Join(fmt.Errorf("agent of node %s: %w", node.Name, err), resp.Body.Close())
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) //nolint:errcheck // it only adds to an error
		return nil, errors.Join(fmt.Errorf("agent of node %s answers %s: %s", node.Name, resp.Status, text), resp.Body.Close())
	}
	return resp, nil
}

// proxied hands an agent's stream on, line by line as it comes.
type proxied struct {
	resp  *http.Response
	again func() error // whether the reader may still read
}

// readAgain is how often a log that is followed asks whether its reader may still read.
const readAgain = 15 * time.Second

// VisitGetPodLogsResponse copies until the agent or the reader ends it.
func (p proxied) VisitGetPodLogsResponse(w http.ResponseWriter) error {
	defer p.resp.Body.Close()
	h := w.Header()
	h.Set("Content-Type", p.resp.Header.Get("Content-Type"))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff") // a tenant's log must never become a page
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	ended, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		for {
			select {
			case <-ended:
				return
			case <-time.After(readAgain):
			}
			if code := husk.CodeOf(p.again()); code == husk.CodeUnauthenticated || code == husk.CodeNotFound {
				_ = p.resp.Body.Close() //nolint:errcheck // whoever copies sees that it is closed
				return
			}
		}
	}()
	defer func() { close(ended); <-watching }()
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
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			// The header is sent; a connection that breaks is the only way to say that this is not the end of the log.
			panic(http.ErrAbortHandler)
		}
	}
}
