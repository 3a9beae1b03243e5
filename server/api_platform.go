package server

import (
	"context"
	"net/http"
	"time"

	"husk/openapi"
)

// Healthz says that the process is alive.
func (a api) Healthz(context.Context, openapi.HealthzRequestObject) (openapi.HealthzResponseObject, error) {
	return openapi.Healthz200JSONResponse{Status: openapi.Ok}, nil
}

// Readyz says that the server can serve: Postgres answers.
func (a api) Readyz(ctx context.Context, _ openapi.ReadyzRequestObject) (openapi.ReadyzResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.store.Ping(ctx); err != nil {
		return nil, unavailable(err)
	}
	return openapi.Readyz200JSONResponse{Status: openapi.Ok}, nil
}

// Metrics answers in Prometheus' text format.
func (a api) Metrics(ctx context.Context, _ openapi.MetricsRequestObject) (openapi.MetricsResponseObject, error) {
	return metricsResponse{a.metrics, ctx}, nil
}

type metricsResponse struct {
	metrics *metrics
	ctx     context.Context //nolint:containedctx // the generated interface hands none on
}

// VisitMetricsResponse writes the metrics.
func (m metricsResponse) VisitMetricsResponse(w http.ResponseWriter) error {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	m.metrics.handler.ServeHTTP(w, r)
	return nil
}
