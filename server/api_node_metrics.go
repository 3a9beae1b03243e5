package server

import (
	"context"
	"errors"
	"io"
	"net/http"

	"husk"
	"husk/openapi"
)

// maxAgentMetrics bounds what an agent says of itself, in bytes.
const maxAgentMetrics = 4 << 20

// GetNodeMetrics asks a node's agent for its metrics: it takes a server's certificate only, which Prometheus does not have.
func (a api) GetNodeMetrics(ctx context.Context, r openapi.GetNodeMetricsRequestObject) (openapi.GetNodeMetricsResponseObject, error) {
	node, err := a.store.Node(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	away := func(err error) error {
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the agent of node %s does not answer", node.Name), err)
	}
	if node.Endpoint == "" {
		return nil, away(nil)
	}
	resp, err := a.askAgent(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.Metrics(ctx) }) //nolint:bodyclose // closed below
	if err != nil {
		return nil, away(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAgentMetrics))
	if err != nil {
		return nil, away(err)
	}
	return figuresAnswer{body: body}, nil
}

// VisitGetNodeMetricsResponse writes the metrics.
func (f figuresAnswer) VisitGetNodeMetricsResponse(w http.ResponseWriter) error {
	return f.VisitGetTenantMetricsResponse(w)
}
