// SPDX-License-Identifier: Apache-2.0

// Package server is the central API. It holds no state: run as many servers as you like over one Postgres; the one that leads also runs
// the control loops.
//
// A request passes observe.go (an id, metrics, the log), contract.go (route, authentication, access table, rate limits, validation
// against openapi.yaml), and reaches a thin handler through the generated strict server. There is one file of handlers for each kind of
// object: pods.go, volumes.go, images.go, and so on. A handler decodes, makes one call, and encodes. Every error becomes a problem in problem.go
// and nowhere else.
//
// Everything that needs more than that is in a package of its own. None of these packages imports this one:
//
//   - server/auth finds out who the caller is
//   - server/control runs the background loops
//   - server/exec relays sessions, logs and statistics of running pods
//   - server/held limits what a tenant holds at the same time
//   - server/metrics serves metrics
//   - server/agents calls the agents of nodes
//   - server/represent answers HEAD and conditional requests, and links the pages of lists
//   - server/watch streams changes of lists
//   - server/request holds what is known about the request under way
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/ceph"
	"husk/egress"
	"husk/openapi"
	"husk/server/agents"
	"husk/server/auth"
	"husk/server/control"
	"husk/server/exec"
	"husk/server/held"
	"husk/server/metrics"
	"husk/server/network"
	"husk/server/represent"
	"husk/store"
	"husk/web"
)

// Config is what a server needs.
type Config struct {
	Store   *store.Store
	Cluster *ceph.Cluster
	Issuer  string // of tokens; the same for every server of an installation
	Log     *slog.Logger

	// Network says where OVN is, and what pods may do.
	Network network.Config
	// Egress says which addresses the server may connect to on behalf of tenants.
	Egress egress.Policy

	// CephMonitors, ImagesPool and VolumesPool are handed to the agents.
	CephMonitors            []string
	ImagesPool, VolumesPool string

	// NamesSuffix is the end of all names of pods and services; empty means service.DefaultSuffix.
	NamesSuffix string

	// AgentURL and Southbound are in the command with which a node joins: where agents reach the servers, and OVN's southbound database.
	AgentURL, Southbound string

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// LoginsPerSecond is how many logins, and requests with a token that does not verify, one address may send; 0 means 20. Bursts are
	// five times that.
	LoginsPerSecond float64

	// SigningKeyLife is how long a key signs tokens before the next one takes over; 0 means 30 days.
	SigningKeyLife time.Duration

	// Prices say what usage costs; the zero value prices nothing.
	Prices husk.PriceList

	// Terms say how long a node counts as alive.
	Terms control.LeaseTerms

	// MovesForWaitingPod is how many running pods may move so that one waiting pod fits; 0 moves none.
	MovesForWaitingPod int

	// SessionIdle is how long an interactive session may pass without a byte; 0 means one hour. SessionCheck is how often the server
	// re-checks that the caller is still authorized; 0 means 15 seconds.
	SessionIdle, SessionCheck time.Duration

	// Held says how much a tenant can hold at this server at the same time; 0 means the default.
	Held held.Limits

	// NodeCertificateLife is how long a node's certificate is valid; its agent renews it after two thirds of that.
	NodeCertificateLife time.Duration
}

// MaxHeaderBytes is how much of a request's header an HTTP server in front of Handler should read: several times what a token takes.
const MaxHeaderBytes = 32 << 10

// minCertificateLife leaves an agent a few attempts to renew. Lives this short are for tests.
const minCertificateLife = 10 * time.Second

func (c Config) check() error {
	if err := c.Terms.Check(); err != nil {
		return err
	}
	if c.NodeCertificateLife < minCertificateLife {
		return fmt.Errorf("a node's certificate must be valid for at least %s, not %s, because its agent needs time to renew it", minCertificateLife, c.NodeCertificateLife)
	}
	return nil
}

// LeaseTerms say how long a node counts as alive.
type LeaseTerms = control.LeaseTerms

// Server serves the API and runs the control loops.
type Server struct {
	handler  http.Handler
	contract *contract
	auth     *auth.Auth
	loops    *control.Loops
	metrics  *metrics.Metrics
	agents   *agents.Agents
}

// New prepares a server: signing keys, the certificate authority, the contract, and a check that every operation has an entry in the
// access table.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	files, err := web.Files()
	if err != nil {
		return nil, err
	}
	dashboard, err := newDashboard(files)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	a, err := auth.New(ctx, auth.Config{
		Store: cfg.Store, Log: cfg.Log, Issuer: cfg.Issuer, Egress: cfg.Egress, LoginsPerSecond: cfg.LoginsPerSecond,
		SigningKeyLife: cfg.SigningKeyLife, NodeCertificateLife: cfg.NodeCertificateLife, Metrics: registry,
	})
	if err != nil {
		return nil, err
	}
	cfg.Network.TLS = a.NorthboundTLS()
	nodes := agents.New(agents.Config{TLS: a.ClientTLS, Verify: a.VerifyNode, Known: isCallersFault})
	m := metrics.New(cfg.Store, nodes, cfg.Log, registry)
	limits := held.New(cfg.Held, registry)
	contract, err := newContract(a, m, limits, cfg)
	if err != nil {
		return nil, err
	}
	loops := control.New(control.Config{
		Store: cfg.Store.Control(), Ceph: cfg.Cluster, Log: cfg.Log, Egress: cfg.Egress, VolumesPool: cfg.VolumesPool, Terms: cfg.Terms, Network: cfg.Network,
		SigningKeys: a.TendSigningKeys, Metrics: registry, Guests: nodes, MovesForWaitingPod: cfg.MovesForWaitingPod,
	})
	sessions := exec.New(exec.Config{
		Store: cfg.Store, Agents: nodes, Log: cfg.Log, Issuer: cfg.Issuer, Idle: cfg.SessionIdle, Recheck: cfg.SessionCheck, Held: limits, Metrics: registry,
	})
	api := newAPI(cfg, a, sessions, m, limits, registry)
	handler := newObserver(cfg.Log, registry, represent.StayOnHTTPS(cfg.Issuer)).observe(dashboard.serve(problems{cfg.Log}, newHandler(contract, api)))
	return &Server{handler: handler, contract: contract, auth: a, loops: loops, metrics: m, agents: nodes}, nil
}

// Handler returns the HTTP API and the dashboard.
func (s *Server) Handler() http.Handler { return s.handler }

// AgentTLS returns the TLS configuration of the listener that agents call. The handler is the same on every listener.
func (s *Server) AgentTLS() *tls.Config { return s.auth.ListenerTLS() }

// RunLoops removes copies of metrics that nobody reads any more, takes part in the election, and runs the control loops whenever this
// server leads. It returns when ctx ends.
func (s *Server) RunLoops(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.metrics.Run(ctx) })
	s.loops.Run(ctx)
}

// newHandler puts the generated router behind the contract.
func newHandler(c *contract, a api) http.Handler {
	r := chi.NewRouter()
	r.Use(c.hold)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { c.problems.write(w, r, errNoRoute) })
	strict := openapi.NewStrictHandlerWithOptions(a, []openapi.StrictMiddlewareFunc{represent.Links}, openapi.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  func(w http.ResponseWriter, r *http.Request, err error) { c.problems.write(w, r, c.badRequest(err)) },
		ResponseErrorHandlerFunc: c.problems.write,
	})
	return openapi.HandlerWithOptions(strict, openapi.ChiServerOptions{
		BaseRouter:       r,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { c.problems.write(w, r, c.badRequest(err)) },
	})
}
