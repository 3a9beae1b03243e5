// SPDX-License-Identifier: Apache-2.0

// Package agents is how a server calls the agents of nodes: over mutual TLS, each agent under its own node's name, with one pool of
// connections per node. On every response it checks that the node's certificate was not revoked, because the handshake does not check that.
package agents

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"husk"
	"husk/openapi"
	"husk/route"
	"husk/session/ws"
	"husk/store"
)

// dialTimeout is how long a connection to an agent may take.
const dialTimeout = 5 * time.Second

// callTimeout is how long an agent may take to begin its response to a call.
const callTimeout = 10 * time.Second

// sessionTimeout is how long an agent may take to begin an interactive session; a command under emulation on a busy node needs a while.
const sessionTimeout = 35 * time.Second

// Config is what New needs.
type Config struct {
	// TLS returns the configuration for connections to the agent of this node only.
	TLS func(node string) *tls.Config
	// Verify checks that the certificate that the agent has presented was not revoked. Codes: unauthenticated.
	Verify func(ctx context.Context, connection *tls.ConnectionState) error
	// Known reports whether a problem code of an agent may be passed on to a caller.
	Known func(code husk.Code) bool
}

// Agents calls agents.
type Agents struct {
	cfg Config

	mu       sync.Mutex
	calls    map[store.ID]*http.Client
	sessions map[store.ID]*http.Client
}

// New prepares calls to agents. It connects to none yet.
func New(cfg Config) *Agents {
	return &Agents{cfg: cfg, calls: map[store.ID]*http.Client{}, sessions: map[store.ID]*http.Client{}}
}

func (a *Agents) client(of map[store.ID]*http.Client, node store.ID, patience time.Duration) *http.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := of[node]
	if !ok {
		c = &http.Client{
			Transport: &http.Transport{
				DialContext:     route.Dialer(dialTimeout).DialContext, // logs and sessions of a lost node end, and continue on the next one
				TLSClientConfig: a.cfg.TLS(node.String()), ResponseHeaderTimeout: patience, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16,
			},
			// A stolen node must not choose to what else the server connects.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		of[node] = c
	}
	return c
}

// CloseIdleConnections closes the connections that no call uses.
func (a *Agents) CloseIdleConnections() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, of := range []map[store.ID]*http.Client{a.calls, a.sessions} {
		for _, c := range of {
			c.CloseIdleConnections()
		}
	}
}

// Call calls an agent and returns its response, whatever its status. The caller closes the body.
func (a *Agents) Call(ctx context.Context, node husk.Node, call func(*openapi.Client) (*http.Response, error)) (*http.Response, error) {
	client, err := openapi.NewClient(node.Endpoint, openapi.WithHTTPClient(a.client(a.calls, node.ID, callTimeout)))
	if err != nil {
		return nil, err
	}
	resp, err := call(client)
	if err != nil {
		return nil, err
	}
	if err := a.cfg.Verify(ctx, resp.TLS); err != nil {
		return nil, errors.Join(fmt.Errorf("agent of node %s: %w", node.Name, err), resp.Body.Close())
	}
	return resp, nil
}

// CallOK is Call, but returns an error for any status other than 200.
func (a *Agents) CallOK(ctx context.Context, node husk.Node, call func(*openapi.Client) (*http.Response, error)) (*http.Response, error) {
	resp, err := a.Call(ctx, node, call) //nolint:bodyclose // closed here or by the caller
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) //nolint:errcheck // it only adds to an error
		return nil, errors.Join(fmt.Errorf("agent of node %s responds with %s: %s", node.Name, resp.Status, text), resp.Body.Close())
	}
	return resp, nil
}

// Dial opens an interactive session with an agent. Codes: unavailable, and the codes that the agent refuses a session with.
func (a *Agents) Dial(ctx context.Context, node husk.Node, url string) (*ws.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	conn, said, err := ws.Dial(ctx, a.client(a.sessions, node.ID, sessionTimeout), url, nil)
	if said != nil {
		if e := a.cfg.Verify(ctx, said.TLS); e != nil {
			err = errors.Join(fmt.Errorf("agent of node %s: %w", node.Name, e), err)
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
			return nil, errors.Join(Unavailable(node), err)
		}
	}
	switch {
	case err == nil:
		return conn, nil
	case said == nil:
		return nil, errors.Join(Unavailable(node), err)
	default:
		return nil, a.Refused(node, said.Status, said.Body)
	}
}

// Unavailable says that the agent of a pod's node does not respond.
func Unavailable(node husk.Node) error {
	return husk.Errorf(husk.CodeUnavailable, "", "node %s, which runs this pod, does not respond; retry", node.Name)
}

// Refused returns the problem that an agent responded with. If a caller must not see that problem, it returns Unavailable instead.
func (a *Agents) Refused(node husk.Node, status int, body []byte) error {
	var p openapi.Problem
	err := json.Unmarshal(body, &p)
	code := husk.Code(p.Code)
	if err != nil && status == http.StatusNotFound { // an agent responds with a problem if something does not exist
		return husk.Errorf(husk.CodeUnavailable, "", "the agent of node %s is of an earlier version, which cannot do this; update the agent", node.Name)
	}
	if err != nil || !a.cfg.Known(code) || p.Detail == nil {
		return errors.Join(Unavailable(node), fmt.Errorf("agent of node %s responds with %d: %s", node.Name, status, body))
	}
	return husk.Errorf(code, openapi.Value(p.Field), "%s", *p.Detail)
}
