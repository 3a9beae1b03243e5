// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/openapi"
)

func TestNodesAreScrapedThroughTheServer(t *testing.T) {
	t.Parallel()
	s := open(t)
	id, _ := s.node()
	s.join(named("node"), map[string]any{}) // this node has sent no heartbeat yet, so it is not a target
	path := "/v1/admin/nodes/" + id.String()
	node := as[openapi.Node](t, s.call("PATCH", path, s.operator(), map[string]any{"labels": map[string]any{"example.com/rack": "r1"}}), 200)
	want := []openapi.MetricsTarget{{Targets: []string{strings.TrimPrefix(s.url, "http://")}, Labels: map[string]string{
		"__metrics_path__": path + "/metrics", "__meta_husk_node_name": node.Name, "__meta_husk_node_id": id.String(), "__meta_husk_node_state": "Ready",
		"__meta_husk_node_pool": "", "__meta_husk_node_label_example_com_rack": "r1",
	}}}
	targets := func() []openapi.MetricsTarget {
		t.Helper()
		return as[[]openapi.MetricsTarget](t, s.call("GET", "/v1/admin/metrics/targets", s.operator(), nil), 200)
	}
	got := targets()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	// The server forwards the path to the node's agent. No agent runs at this node's address.
	wantProblem(t, s.call("GET", got[0].Labels["__metrics_path__"], s.operator(), nil), 503, husk.CodeUnavailable, "")

	if _, err := s.connect("husk_control").Exec(t.Context(), "UPDATE nodes SET state = 'Lost' WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	if got := targets(); len(got) != 1 || got[0].Labels["__meta_husk_node_state"] != "Lost" {
		t.Errorf("the targets with a lost node are %v, want one in the state Lost", got)
	}
}
