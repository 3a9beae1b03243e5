// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// maxAgentMetrics is the largest response of an agent, in bytes.
const maxAgentMetrics = 4 << 20

// GetNodeMetrics gets the metrics of a node's agent. Agents accept servers' certificates only, and Prometheus has none.
func (m *Metrics) GetNodeMetrics(ctx context.Context, r openapi.GetNodeMetricsRequestObject) (openapi.GetNodeMetricsResponseObject, error) {
	node, err := m.control.Node(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	away := func(err error) error {
		return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the agent of node %s does not respond", node.Name), err)
	}
	if node.Endpoint == "" {
		return nil, away(nil)
	}
	resp, err := m.agents.CallOK(ctx, node, func(c *openapi.Client) (*http.Response, error) { return c.Metrics(ctx) }) //nolint:bodyclose // closed below
	if err != nil {
		return nil, away(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAgentMetrics))
	if err != nil {
		return nil, away(err)
	}
	return textAnswer{body: body}, nil
}

// ListNodeMetricsTargets lists the nodes for Prometheus' HTTP service discovery. Prometheus scrapes them through this server, which it has just reached. A lost
// node stays a target, so that Prometheus sees that it is down.
func (m *Metrics) ListNodeMetricsTargets(ctx context.Context, _ openapi.ListNodeMetricsTargetsRequestObject) (openapi.ListNodeMetricsTargetsResponseObject, error) {
	nodes, err := m.control.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	host := request.Of(ctx).HTTP.Host
	targets := openapi.ListNodeMetricsTargets200JSONResponse{}
	for _, n := range nodes {
		if n.Endpoint == "" {
			continue
		}
		labels := map[string]string{}
		for name, value := range n.Labels {
			labels["__meta_husk_node_label_"+labelName(name)] = value
		}
		labels["__metrics_path__"] = "/v1/admin/nodes/" + n.ID.String() + "/metrics"
		labels["__meta_husk_node_name"], labels["__meta_husk_node_id"], labels["__meta_husk_node_state"] = n.Name, n.ID.String(), string(n.State)
		labels["__meta_husk_node_pool"] = n.Pool
		targets = append(targets, openapi.MetricsTarget{Targets: []string{host}, Labels: labels})
	}
	return targets, nil
}

// VisitGetNodeMetricsResponse writes the metrics.
func (f textAnswer) VisitGetNodeMetricsResponse(w http.ResponseWriter) error {
	return f.VisitGetTenantMetricsResponse(w)
}
