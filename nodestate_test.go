// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
)

var wantNodeNext = map[husk.NodeState]map[husk.NodeEvent]husk.NodeState{
	"Joining":    {"heartbeat": "Ready"},
	"Ready":      {"late": "Suspect", "lease-ran-out": "Lost", "fence": "Fencing"},
	"Suspect":    {"heartbeat": "Ready", "lease-ran-out": "Lost", "fence": "Fencing"},
	"Lost":       {"heartbeat": "Ready", "fence": "Fencing"},
	"Fencing":    {"fence-confirmed": "Fenced"},
	"Fenced":     {"heartbeat": "Recovering"},
	"Recovering": {"clean": "Ready"},
}

func TestEveryNodeEventInEveryState(t *testing.T) {
	t.Parallel()
	got := map[husk.NodeState]map[husk.NodeEvent]husk.NodeState{}
	for _, e := range husk.NodeEvents {
		for from, to := range e.Before() {
			if got[from] == nil {
				got[from] = map[husk.NodeEvent]husk.NodeState{}
			}
			got[from][e] = to
		}
	}
	if diff := cmp.Diff(wantNodeNext, got); diff != "" {
		t.Errorf("the table of node states (-want +got):\n%s", diff)
	}
}

// Once anything was put on the blocklist for a node, it returns only after the fence was confirmed and it has reported that it runs nothing old.
func TestANodeThatIsBeingFencedReturnsOnlyClean(t *testing.T) {
	t.Parallel()
	for _, skipped := range []husk.NodeEvent{husk.NodeFenceConfirmed, husk.NodeClean} {
		reached := map[husk.NodeState]bool{husk.NodeFencing: true}
		for range husk.NodeStates {
			for from := range reached {
				for _, e := range husk.NodeEvents {
					if e != skipped {
						reached[from.Next(e)] = true
					}
				}
			}
		}
		if reached[husk.NodeReady] {
			t.Errorf("a node that is being fenced becomes Ready without %s", skipped)
		}
	}
}

func TestTheDiagramOfNodeStatesIsUpToDate(t *testing.T) {
	t.Parallel()
	upToDate(t, "docs/node-states.md", "# The states of a node\n\n"+
		"This page is generated from the table in `nodestate.go`; `go test . -update` writes it.\n"+
		"`heartbeat` and `clean` come from the node's agent, `fence-confirmed` from Ceph, and the others from the leading server or an operator.\n"+
		"What each state means is in [operations.md](operations.md#lost-nodes).\n\n"+
		"```mermaid\n"+husk.NodeDiagram()+"```\n")
}
