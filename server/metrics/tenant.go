// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// GetTenantMetrics responds in Prometheus' text format, from memory. Only the token determines the tenant.
func (m *Metrics) GetTenantMetrics(ctx context.Context, _ openapi.GetTenantMetricsRequestObject) (openapi.GetTenantMetricsResponseObject, error) {
	req := request.Of(ctx)
	page, err := m.of(ctx, req.Caller)
	if err != nil {
		return nil, err
	}
	answer := textAnswer{body: page.Text()}
	if request.AcceptsGzip(req.HTTP) {
		if answer.body, err = page.Gzip(); err != nil {
			return nil, err
		}
		answer.encoding = "gzip"
	}
	return answer, nil
}

type textAnswer struct {
	body     []byte
	encoding string
}

// VisitGetTenantMetricsResponse writes the metrics.
func (f textAnswer) VisitGetTenantMetricsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(f.body)))
	if f.encoding != "" {
		w.Header().Set("Content-Encoding", f.encoding)
	}
	_, err := w.Write(f.body)
	return err
}

// ListMetricsTargets lists the tenant's running pods for Prometheus' HTTP service discovery.
func (m *Metrics) ListMetricsTargets(ctx context.Context, _ openapi.ListMetricsTargetsRequestObject) (openapi.ListMetricsTargetsResponseObject, error) {
	page, err := m.of(ctx, request.Of(ctx).Caller)
	if err != nil {
		return nil, err
	}
	targets := openapi.ListMetricsTargets200JSONResponse{}
	for _, p := range page.tenant.Pods {
		if p.Phase != husk.PhaseRunning || p.Unknown || !p.Address.IsValid() {
			continue
		}
		labels := map[string]string{}
		for name, value := range p.Labels {
			labels["__meta_husk_pod_label_"+labelName(name)] = value
		}
		labels["__meta_husk_tenant"], labels["__meta_husk_pod_name"], labels["__meta_husk_pod_id"] = page.tenant.Name, p.Name, p.ID.String()
		targets = append(targets, openapi.MetricsTarget{Targets: []string{p.Address.String()}, Labels: labels})
	}
	return targets, nil
}

// labelName converts a text to a valid label name of Prometheus.
func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s)
}
