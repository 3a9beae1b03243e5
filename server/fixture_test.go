// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"husk"
	"husk/ceph"
	"husk/dev/devtest"
	"husk/egress"
	"husk/openapi"
	"husk/pki"
	"husk/registry/importer"
	"husk/server/control"
	"husk/server/held"
	"husk/service/address"
	"husk/store"
	contracttest "husk/test/contract"
)

func TestMain(m *testing.M) {
	importer.BeChild()
	ceph.BeChild()
	if url := os.Getenv(serveEnv); url != "" {
		if err := serveForTests(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if order := os.Getenv(attackEnv); order != "" {
		if err := attackForTests(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	devtest.Main(m)
}

// Names in OAuth 2.0 (RFC 6749, RFC 8693). The tests do not use the server's constants, so that
// they also check the spelling.
const (
	grantClientCredentials = "client_credentials"
	grantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantCode              = "authorization_code"
	typeIDToken            = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken        = "urn:ietf:params:oauth:token-type:access_token"
	tokenAudience          = "husk"
)

const (
	patience = 30 * time.Second
	issuer   = "https://husk.example.com"
)

// fixture is a server over HTTP with its own database. It has no Ceph, because the API only records
// the desired state.
type fixture struct {
	*Server
	cfg   Config
	db    *store.Store
	store store.Control
	t     testing.TB
	url   string
	web   *http.Client // checks every response against the contract

	operatorID uuid.UUID
	database   devtest.URL // the URLs of the database by role
	// agentURL is the URL for agents, with mutual TLS.
	agentURL string
}

func open(t testing.TB) fixture {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	s := fixture{t: t, operatorID: uuid.New(), database: url}.another()
	if err := s.store.EnsureOperator(t.Context(), s.operatorID, "a secret of the operator"); err != nil {
		t.Fatal(err)
	}
	return s
}

// another returns a second server on the same database.
func (s fixture) another() fixture {
	s.t.Helper()
	return s.logging(slog.NewTextHandler(s.t.Output(), nil))
}

// logging returns another server on the same database, which logs to this handler.
func (s fixture) logging(handler slog.Handler) fixture {
	t := s.t
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{
		URL: s.database(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, FloatingRange: address.Range{First: netip.MustParseAddr("203.0.113.1"), Last: netip.MustParseAddr("203.0.113.254")},
		Log: slog.New(handler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return s.serve(Config{
		Store: st, Issuer: issuer, Log: slog.New(handler), Terms: control.LeaseTerms{Heartbeat: 10 * time.Second, Lease: 30 * time.Second, Margin: 5 * time.Second, Brake: 1},
		LoginsPerSecond: 10_000, NodeCertificateLife: time.Hour, CephMonitors: []string{"192.0.2.1:6789"}, ImagesPool: "images", VolumesPool: "volumes",
		Held:    held.Limits{Requests: 1000}, // tests send more requests at once than tenants
		Cluster: s.cfg.Cluster, Egress: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
}

// configured returns another server on the same database, with this change to its configuration.
func (s fixture) configured(change func(*Config)) fixture {
	s.t.Helper()
	cfg := s.cfg
	change(&cfg)
	return s.serve(cfg)
}

func (s fixture) serve(cfg Config) fixture {
	t := s.t
	t.Helper()
	var err error
	s.cfg, s.db, s.store = cfg, cfg.Store, cfg.Store.Control()
	if s.Server, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	httpServer := httptest.NewServer(s.Handler())
	t.Cleanup(httpServer.Close)
	tlsServer := httptest.NewUnstartedServer(s.Handler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // tests cause handshake errors on purpose
	tlsServer.Listener = tls.NewListener(tlsServer.Listener, s.AgentTLS())
	tlsServer.Start()
	t.Cleanup(tlsServer.Close)
	s.url, s.agentURL = httpServer.URL, "https://"+tlsServer.Listener.Addr().String()
	s.web = &http.Client{Transport: contractual(t, httpServer.Client().Transport)}
	return s
}

// contractual returns a transport that checks responses against the contract. A violation fails the
// test.
func contractual(t testing.TB, next http.RoundTripper) *contracttest.Transport {
	t.Helper()
	c, err := contracttest.New(next, t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// response is an HTTP response whose body was read completely.
type response struct {
	status  int
	header  http.Header
	body    string
	problem openapi.Problem
}

// as decodes a response, and fails the test if it does not have this status.
func as[T any](t testing.TB, a response, status int) T {
	t.Helper()
	var v T
	if a.status != status {
		t.Fatalf("the response is %d %s, want %d", a.status, a.body, status)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return v
}

// wantProblem checks status, code and field of a problem.
func wantProblem(t testing.TB, a response, status int, code husk.Code, field string) {
	t.Helper()
	got := ""
	if a.problem.Field != nil {
		got = *a.problem.Field
	}
	if a.status != status || a.problem.Code != string(code) || got != field {
		t.Errorf("the response is %d %s, want %d %s about %q", a.status, a.body, status, code, field)
	}
}

// request sends a request; body may be a string that is sent as it is, or a value that becomes JSON.
func (s fixture) request(method, path, token string, body any, headers ...string) *http.Request {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (s fixture) send(r *http.Request) response {
	s.t.Helper()
	resp, err := s.web.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		s.t.Errorf("%s %s: a browser may treat the response as another type", r.Method, r.URL.Path)
	}
	a := response{status: resp.StatusCode, header: resp.Header, body: string(raw)}
	if r.Method != http.MethodHead && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.Unmarshal(raw, &a.problem); err != nil {
			s.t.Fatal(err)
		}
	}
	return a
}

func (s fixture) call(method, path, token string, body any, headers ...string) response {
	s.t.Helper()
	return s.send(s.request(method, path, token, body, headers...))
}

func (s fixture) token(c husk.Caller) string {
	s.t.Helper()
	token, err := s.auth.IssueTokenFor(s.t.Context(), c, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s fixture) operator() string {
	s.t.Helper()
	return s.token(husk.Caller{Kind: husk.CallerOperator, ID: s.operatorID, Name: "first-operator"})
}

var serial atomic.Int64

func named(what string) string { return fmt.Sprintf("%s-%d", what, serial.Add(1)) }

// tenancy is a tenant with a token and an image that is ready.
type tenancy struct {
	id    uuid.UUID
	owner husk.Caller // the service account of the token
	token string
	image husk.Image
}

func (s fixture) tenant() tenancy {
	s.t.Helper()
	quota := map[string]any{"requestsPerSecond": 100_000} // tests send more requests than tenants
	made := as[openapi.Tenant](s.t, s.call("POST", "/v1/admin/tenants", s.operator(), map[string]any{"name": named("tenant"), "quota": quota}), 201)
	config := husk.ImageConfig{Entrypoint: []string{"/bin/server"}, Cmd: []string{"--quiet"}, Env: []string{"A=image"}, WorkingDir: "/srv", User: "web", StopSignal: "SIGQUIT"}
	key, err := s.store.CreateTenantKey(s.t.Context(), made.ID, store.NewIdempotency("", "test", "", nil), "owner", store.KeyRequest{Name: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	owner, err := s.store.Authenticate(s.t.Context(), key.ClientID, key.Secret)
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := s.db.Tenant(owner).CreateImage(s.t.Context(), store.NewIdempotency("", "test", "/v1/test", nil), "registry.example.com/web:1", "sha256:"+named("digest"), config, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.ImageMade(s.t.Context(), image, 1<<20, false, "abc", nil); err != nil {
		s.t.Fatal(err)
	}
	return tenancy{made.ID, owner, s.token(owner), image}
}

// tokenOf creates a service account with a role in the tenant and returns a token for it.
func (s fixture) tokenOf(c tenancy, role husk.Role) string {
	s.t.Helper()
	account := as[openapi.ServiceAccount](s.t, s.call("POST", "/v1/service-accounts", c.token, map[string]any{"name": named("account"), "role": role}), 201)
	key := as[openapi.APIKeyWithSecret](s.t, s.call("POST", "/v1/service-accounts/"+account.ID.String()+"/api-keys", c.token, map[string]any{"name": "key"}), 201)
	caller, err := s.store.Authenticate(s.t.Context(), key.ClientID, key.ClientSecret)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.token(caller)
}

// body returns a valid request for a pod.
func (c tenancy) body(name string) map[string]any {
	return map[string]any{"name": name, "spec": map[string]any{
		"containers": []any{map[string]any{"name": "main", "image": c.image.Reference}}, "resources": map[string]any{"cpuMillis": 500, "memoryMiB": 128},
	}}
}

func (s fixture) createPod(c tenancy) openapi.Pod {
	s.t.Helper()
	return as[openapi.Pod](s.t, s.call("POST", "/v1/pods", c.token, c.body(named("pod"))), 201)
}

// node adds a node: it joins over the API and sends a heartbeat. It returns the node's ID, and a
// fixture whose requests come from its agent.
func (s fixture) node() (uuid.UUID, fixture) {
	s.t.Helper()
	id, agent := s.join(named("node"), map[string]any{})
	lease := as[openapi.Lease](s.t, agent.call("POST", "/v1/agent/heartbeat", "", heartbeatBody), 200)
	if lease.LeaseSeconds != 30 || lease.HeartbeatSeconds != 10 || !lease.Resync {
		s.t.Errorf("the lease is %+v", lease)
	}
	return id, agent
}

// join creates a join token with this request and registers a node with it as an agent does. It
// verifies the server by the token only.
func (s fixture) join(name string, request map[string]any) (uuid.UUID, fixture) {
	s.t.Helper()
	token := as[openapi.JoinToken](s.t, s.call("POST", "/v1/admin/join-tokens", s.operator(), request), 201).Token
	id, agent, _ := s.register(token, name)
	return id, agent
}

// register returns the node's ID, a fixture whose requests come from its agent, and the agent's key
// and certificate.
func (s fixture) register(token, name string) (uuid.UUID, fixture, *pki.NodeHolder) {
	s.t.Helper()
	_, fingerprint, err := pki.SplitJoinToken(token)
	if err != nil {
		s.t.Fatal(err)
	}
	key, request, err := pki.NewRequest()
	if err != nil {
		s.t.Fatal(err)
	}
	made := as[openapi.NodeIdentity](s.t, s.over(pki.JoinClient(fingerprint)).call("POST", "/v1/agent/register", "",
		map[string]any{"token": token, "name": name, "certificateRequest": request}), 201)
	cert, err := pki.NodeCertificate(s.auth.Root(), made.NodeID.String(), made.Certificate, key)
	if err != nil {
		s.t.Fatal(err)
	}
	if made.Authority != s.auth.Root().PEM() {
		s.t.Errorf("the response to the node has the authority %s", made.Authority)
	}
	h := &pki.NodeHolder{}
	h.Replace(cert)
	return made.NodeID, s.over(pki.AgentClient(s.auth.Root(), h)), h
}

// over returns a fixture that sends its requests to the agents' listener.
func (s fixture) over(config *tls.Config) fixture {
	transport := &http.Transport{TLSClientConfig: config}
	s.t.Cleanup(transport.CloseIdleConnections)
	s.url, s.web = s.agentURL, &http.Client{Transport: contractual(s.t, transport)}
	return s
}

var heartbeatBody = map[string]any{
	"capacity": map[string]any{"cpuMillis": 64000, "memoryMiB": 65536}, "vmmOverheadMiB": 50, "endpoint": "https://192.0.2.7:7443",
}

// place places a pod on a node and creates its key, as the server's loops do.
func (s fixture) place(node uuid.UUID, c tenancy, pod uuid.UUID) {
	s.t.Helper()
	capacities, err := s.store.NodeCapacities(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range capacities {
		if r.ID != node {
			continue
		}
		placed, err := s.store.CommitPlacements(s.t.Context(), 0, []store.Placement{{Pod: store.PodKey{TenantID: c.id, ID: pod}, Node: node, NodeVersion: r.Version}})
		if err != nil || len(placed) != 1 {
			s.t.Fatalf("placed %v: %v", placed, err)
		}
		if err := s.setKey(store.PodKey{TenantID: c.id, ID: pod}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s fixture) report(agent fixture, pod uuid.UUID, generation int, event husk.PhaseEvent) {
	s.t.Helper()
	a := agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{map[string]any{
		"podId": pod, "generation": generation, "event": event, "restarts": 0, "containers": []any{map[string]any{"name": "main", "state": "Running", "restarts": 0}},
	}}})
	if a.status != http.StatusNoContent {
		s.t.Fatalf("the report gets the response %d %s", a.status, a.body)
	}
}

// operation is an operation of the contract. The IDs in its path belong to no object.
type operation struct{ id, method, path string }

func operations(spec *openapi3.T) []operation {
	var all []operation
	for path, item := range spec.Paths.Map() {
		for _, param := range []string{"podId", "volumeId", "serviceId", "imageId", "tenantId", "nodeId", "keyId", "serviceAccountId", "userId", "issuerId", "kid", "pool", "class"} {
			path = strings.ReplaceAll(path, "{"+param+"}", uuid.NewString())
		}
		for method, op := range item.Operations() {
			all = append(all, operation{operationName(op.OperationID), method, path})
		}
	}
	return all
}

// setKey gives the pod's placement a key.
func (s fixture) setKey(pod store.PodKey) error {
	_, placement, err := s.store.PodToKey(s.t.Context(), store.Work{TenantID: pod.TenantID, ObjectID: pod.ID})
	if err != nil {
		return err
	}
	return s.store.SetPodKeys(s.t.Context(), map[store.PlacementKey]string{{PodKey: pod, Number: placement}: "cephx-secret"})
}
