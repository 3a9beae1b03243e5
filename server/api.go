// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/ceph"
	"husk/egress"
	"husk/openapi"
	"husk/server/auth"
	"husk/server/control"
	"husk/server/deliver"
	"husk/server/exec"
	"husk/server/held"
	"husk/server/metrics"
	"husk/server/represent"
	"husk/server/request"
	"husk/server/transfer"
	"husk/server/zones"
	"husk/service"
	"husk/store"
	"husk/version"
)

// authentication, sessions and measurements are the operations that other packages implement. The names keep them apart from the fields
// of api.
type (
	authentication = auth.Auth
	sessions       = exec.Sessions
	measurements   = metrics.Metrics
	transfers      = transfer.Transfers
)

// api implements the generated strict server. Its own methods are in one file for each kind of object.
type api struct {
	*authentication
	*sessions
	*measurements
	*transfers

	store     *store.Store
	control   store.Control
	auth      *auth.Auth
	log       *slog.Logger
	egress    egress.Policy
	join      joinCommand
	prices    husk.PriceList
	terms     control.LeaseTerms
	ceph      *ceph.Cluster
	desired   deliver.States
	clocks    *clockWarnings
	reporting turns
	watches   watches
	zones     *zones.Zones
	downtime  prometheus.Histogram // of machines that move
}

var _ openapi.StrictServerInterface = api{}

func newAPI(cfg Config, a *auth.Auth, s *exec.Sessions, m *metrics.Metrics, h *held.Held, registry prometheus.Registerer) api {
	return api{
		authentication: a, sessions: s, measurements: m, transfers: transfer.New(cfg.Store, cfg.Cluster, h, cfg.Log, registry), store: cfg.Store, control: cfg.Store.Control(), auth: a, log: cfg.Log, egress: cfg.Egress, join: joinCommand{cfg.AgentURL, cfg.Southbound},
		prices: cfg.Prices, terms: cfg.Terms, ceph: cfg.Cluster, desired: deliver.States{Monitors: cfg.CephMonitors, VolumesPool: cfg.VolumesPool, NamesSuffix: cmp.Or(cfg.NamesSuffix, service.DefaultSuffix), MaxBytes: deliver.MaxBytes, Log: cfg.Log},
		clocks: &clockWarnings{last: map[store.ID]time.Time{}}, reporting: reportTurns(cfg.Store),
		watches: newWatches(cfg.Store, cfg.Log, h, registry), zones: zones.New(cfg.Store.Control(), cmp.Or(cfg.NamesSuffix, service.DefaultSuffix)), downtime: newDowntime(registry),
	}
}

// tenant returns the database as the caller of this request may use it.
func (a api) tenant(ctx context.Context) store.Tenant { return a.store.Tenant(request.Of(ctx).Caller) }

// GetPlatform returns the version of this server.
func (a api) GetPlatform(context.Context, openapi.GetPlatformRequestObject) (openapi.GetPlatformResponseObject, error) {
	p := openapi.GetPlatform200JSONResponse{Version: version.Number()}
	if c := version.Commit(); c != "" {
		p.Commit = &c
	}
	return p, nil
}

// Healthz responds if the process is alive.
func (a api) Healthz(context.Context, openapi.HealthzRequestObject) (openapi.HealthzResponseObject, error) {
	return openapi.Healthz200JSONResponse{Status: openapi.Ok}, nil
}

// Readyz responds with ok if the server is ready, which means that Postgres responds.
func (a api) Readyz(ctx context.Context, _ openapi.ReadyzRequestObject) (openapi.ReadyzResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.store.Ping(ctx); err != nil {
		return nil, unavailable(err)
	}
	return openapi.Readyz200JSONResponse{Status: openapi.Ok}, nil
}

// contracts are the contract for generators of clients, as JSON and as YAML. Anybody may ask for it, so it is prepared once.
var contracts = sync.OnceValues(func() (both [2]represent.Document, _ error) {
	d, err := openapi.ForClients()
	both[0] = represent.Document{Type: "application/json", ETag: husk.ETag(d.JSON), Body: d.JSON}
	both[1] = represent.Document{Type: "application/yaml", ETag: husk.ETag(d.YAML), Body: d.YAML}
	return both, err
})

// GetContract returns the contract for generators of clients.
func (a api) GetContract(context.Context, openapi.GetContractRequestObject) (openapi.GetContractResponseObject, error) {
	both, err := contracts()
	return both[0], err
}

// GetContractAsYAML returns the same as YAML.
func (a api) GetContractAsYAML(context.Context, openapi.GetContractAsYAMLRequestObject) (openapi.GetContractAsYAMLResponseObject, error) {
	both, err := contracts()
	return both[1], err
}

func unavailable(err error) error {
	return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the platform's database does not respond; retry"), err)
}
