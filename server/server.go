// Package server is the central API and its control loops. It holds no state: run as many as you like over one Postgres; the one
// that leads runs the loops.
//
// A request passes contract.go (route, token, access table, validation against openapi.yaml), reaches a thin handler in api_*.go
// through the generated strict server, and calls the store. Every error becomes a problem in problem.go and nowhere else. Loops
// (loop_*.go) take no input: each re-reads what there is to do, does it, and may be interrupted anywhere.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"

	"husk"
	"husk/ceph"
	"husk/egress"
	"husk/idtoken"
	"husk/openapi"
	"husk/store"
	"husk/web"
)

// Config is what a server needs.
type Config struct {
	Store   *store.Store
	Cluster *ceph.Cluster
	Issuer  string // of tokens; the same for every server of an installation
	Log     *slog.Logger

	// Egress says where the server may be led by what tenants name.
	Egress egress.Policy

	// CephMonitors, ImagesPool and VolumesPool are handed to the agents.
	CephMonitors            []string
	ImagesPool, VolumesPool string

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// LoginsPerSecond is how many logins, and requests whose token does not verify, one address may send; 0 means 20. Bursts are five
	// times that.
	LoginsPerSecond float64

	// SigningKeyLife is how long a key signs tokens before the next takes over; 0 means 30 days.
	SigningKeyLife time.Duration

	// Prices say what usage costs; the zero value prices nothing.
	Prices husk.PriceList

	// Lease is how long a node counts as alive after a heartbeat; Heartbeat is how often one is due.
	Lease, Heartbeat time.Duration

	// SessionIdle is how long an interactive session may pass without a byte; 0 means one hour. SessionCheck is how often it is looked whether
	// its caller still may; 0 means 15 seconds.
	SessionIdle, SessionCheck time.Duration

	// NodeCertificateLife is how long a node's certificate is good; its agent renews it when two thirds are over.
	NodeCertificateLife time.Duration
}

// MaxHeaderBytes is how much of a request's header an HTTP server before Handler should read: several times what a token takes.
const MaxHeaderBytes = 32 << 10

// Server serves the API.
type Server struct {
	store     *store.Store
	cluster   *ceph.Cluster
	cfg       Config
	log       *slog.Logger
	tokens    *tokens
	authority *authority
	access    map[string]accessRule
	spec      *openapi3.T
	router    routers.Router
	metrics   *metrics
	agents    *agentClients
	sessions  *tenantSessions
	live      *liveFigures
	clocks    *clockWarnings
	dashboard dashboard

	readOnly     map[string]bool // names of properties that only answers have
	deprecations map[string]deprecation
	// tenants counts requests by tenant, addresses logins by address, and outbound what tenants make this server ask of others.
	tenants, addresses, outbound *limiter
	idTokens                     *idtoken.Verifier
}

// minCertificateLife leaves an agent a few tries. Lives this short are for tests.
const minCertificateLife = 10 * time.Second

// New prepares a server: signing keys, the certificate authority, the contract, and a check that every operation has an entry in the access table.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Lease < 2*cfg.Heartbeat || cfg.Heartbeat < time.Second {
		return nil, fmt.Errorf("the lease (%s) must be at least twice the heartbeat (%s), and that at least one second", cfg.Lease, cfg.Heartbeat)
	}
	if cfg.NodeCertificateLife < minCertificateLife {
		return nil, fmt.Errorf("a node's certificate must live for at least %s, and not %s: its agent renews it in the last third", minCertificateLife, cfg.NodeCertificateLife)
	}
	spec, err := openapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		return nil, fmt.Errorf("route the contract: %w", err)
	}
	if err := checkAccessTable(spec, access); err != nil {
		return nil, err
	}
	deprecations, err := deprecationsOf(spec)
	if err != nil {
		return nil, err
	}
	if cfg.LoginsPerSecond == 0 {
		cfg.LoginsPerSecond = 20
	}
	if cfg.SigningKeyLife == 0 {
		cfg.SigningKeyLife = 30 * 24 * time.Hour
	}
	if cfg.SessionIdle == 0 {
		cfg.SessionIdle = sessionIdle
	}
	if cfg.SessionCheck == 0 {
		cfg.SessionCheck = readAgain
	}
	tokens, err := newTokens(ctx, cfg.Store, cfg.Issuer)
	if err != nil {
		return nil, err
	}
	authority, err := openAuthority(ctx, cfg.Store)
	if err != nil {
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
	s := &Server{
		dashboard: dashboard,
		store:     cfg.Store, cluster: cfg.Cluster, cfg: cfg, log: cfg.Log, tokens: tokens, authority: authority, access: access, spec: spec, router: router,
		metrics: newMetrics(cfg.Store), live: newLiveFigures(cfg.Store), clocks: &clockWarnings{last: map[store.ID]time.Time{}}, agents: newAgentClients(authority), sessions: &tenantSessions{open: map[store.ID]int{}}, readOnly: readOnlyProperties(spec), deprecations: deprecations,
		tenants: newTenantLimiter(cfg.Store), addresses: newLimiter(cfg.Store, "address", cfg.LoginsPerSecond),
		outbound: newLimiter(cfg.Store, "outbound", outboundPerSecond), idTokens: idtoken.New(idtoken.Config{Egress: cfg.Egress}),
	}
	return s, nil
}

// Handler returns the HTTP API and the dashboard.
func (s *Server) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(s.contract)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { s.writeProblem(w, r, errNoRoute) })
	strict := openapi.NewStrictHandlerWithOptions(api{s}, nil, openapi.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  func(w http.ResponseWriter, r *http.Request, err error) { s.writeProblem(w, r, s.badRequest(err)) },
		ResponseErrorHandlerFunc: s.writeProblem,
	})
	return s.observe(s.withDashboard(openapi.HandlerWithOptions(strict, openapi.ChiServerOptions{
		BaseRouter:       r,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) { s.writeProblem(w, r, s.badRequest(err)) },
	})))
}

// RunLoops keeps this server's copy of what tenants are told fresh, takes part in the election, and runs the control loops whenever this server leads.
// It returns when ctx ends.
func (s *Server) RunLoops(ctx context.Context) {
	var figures sync.WaitGroup
	defer figures.Wait()
	figures.Go(func() { s.live.run(ctx, s.log) })
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	holder := fmt.Sprintf("%s/%d", host, os.Getpid())
	for ctx.Err() == nil {
		err := s.store.Lead(ctx, holder, s.lead)
		if err != nil && !errors.Is(err, context.Canceled) {
			s.log.Warn("not leading", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// api implements the generated strict server; its methods are spread over the api_*.go files.
type api struct{ *Server }

var _ openapi.StrictServerInterface = api{}
