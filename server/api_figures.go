package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"husk"
	"husk/openapi"
)

// GetTenantMetrics answers in Prometheus' text format, from memory. Which tenant's figures they are, the token says and nothing else.
func (a api) GetTenantMetrics(ctx context.Context, _ openapi.GetTenantMetricsRequestObject) (openapi.GetTenantMetricsResponseObject, error) {
	req := requestOf(ctx)
	page, err := a.live.of(ctx, req.caller)
	if err != nil {
		return nil, err
	}
	answer := figuresAnswer{body: page.Text()}
	if acceptsGzip(req.http.Header.Get("Accept-Encoding")) {
		if answer.body, err = page.Gzip(); err != nil {
			return nil, err
		}
		answer.encoding = "gzip"
	}
	return answer, nil
}

type figuresAnswer struct {
	body     []byte
	encoding string
}

// VisitGetTenantMetricsResponse writes the figures.
func (f figuresAnswer) VisitGetTenantMetricsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(f.body)))
	if f.encoding != "" {
		w.Header().Set("Content-Encoding", f.encoding)
	}
	_, err := w.Write(f.body)
	return err
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}

// ListMetricsTargets names the tenant's running pods, for Prometheus' HTTP service discovery.
func (a api) ListMetricsTargets(ctx context.Context, _ openapi.ListMetricsTargetsRequestObject) (openapi.ListMetricsTargetsResponseObject, error) {
	page, err := a.live.of(ctx, requestOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	targets := openapi.ListMetricsTargets200JSONResponse{}
	for _, p := range page.figures.Pods {
		if p.Phase != husk.PhaseRunning || !p.Address.IsValid() {
			continue
		}
		labels := map[string]string{}
		for name, value := range p.Labels {
			labels["__meta_husk_pod_label_"+labelName(name)] = value
		}
		labels["__meta_husk_tenant"], labels["__meta_husk_pod_name"], labels["__meta_husk_pod_id"] = page.figures.Name, p.Name, p.ID.String()
		targets = append(targets, openapi.MetricsTarget{Targets: []string{p.Address.String()}, Labels: labels})
	}
	return targets, nil
}

// labelName is a name as Prometheus takes it.
func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s)
}
