// SPDX-License-Identifier: Apache-2.0

// Package metrics is what a server exposes to Prometheus: each tenant's own metrics, from a copy in memory that is at most a few
// seconds old; the platform's metrics for operators; and the metrics of the nodes' agents, passed on. Its methods implement the operations of
// the API that are about metrics. One table (table.go) lists a tenant's metrics.
//
// Other packages have their own metrics, and register them at the registry that the server passes to them.
package metrics

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"husk/openapi"
	"husk/server/agents"
	"husk/store"
	"husk/version"
)

// Metrics serves metrics.
type Metrics struct {
	*copies
	control  store.Control
	agents   *agents.Agents
	log      *slog.Logger
	platform http.Handler
}

// New prepares the metrics of a server and registers those of the platform.
func New(s *store.Store, a *agents.Agents, log *slog.Logger, registry *prometheus.Registry) *Metrics {
	built := prometheus.NewGauge(prometheus.GaugeOpts{Name: "husk_build_info", Help: "1, with the server's version.", ConstLabels: prometheus.Labels{"version": version.Number()}})
	built.Set(1)
	registry.MustRegister(built, platform{s.Control()}, connections{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	copies := newCopies(s)
	registry.MustRegister(copies.reads)
	return &Metrics{
		copies: copies, control: s.Control(), agents: a, log: log,
		platform: promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}),
	}
}

// Run removes copies of metrics that nobody reads any more, until ctx ends.
func (m *Metrics) Run(ctx context.Context) { m.run(ctx) }

// Metrics responds with the platform's metrics in Prometheus' text format.
func (m *Metrics) Metrics(ctx context.Context, _ openapi.MetricsRequestObject) (openapi.MetricsResponseObject, error) {
	return platformAnswer{m.platform, ctx}, nil
}

type platformAnswer struct {
	handler http.Handler
	ctx     context.Context //nolint:containedctx // the generated interface hands none on
}

// VisitMetricsResponse writes the metrics.
func (m platformAnswer) VisitMetricsResponse(w http.ResponseWriter) error {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	m.handler.ServeHTTP(w, r)
	return nil
}
