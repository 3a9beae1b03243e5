// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"fmt"
	"strings"
)

// NodeState is where a node is in its life, as the server sees it.
type NodeState string

// The states of a node. Only a Ready node gets pods.
const (
	NodeJoining    NodeState = "Joining"    // registered; no heartbeat yet
	NodeReady      NodeState = "Ready"      // its heartbeats arrive
	NodeSuspect    NodeState = "Suspect"    // a heartbeat is late
	NodeLost       NodeState = "Lost"       // no heartbeat for a lease and its margin
	NodeFencing    NodeState = "Fencing"    // its Ceph clients are being put on the blocklist; from here it returns only through Recovering
	NodeFenced     NodeState = "Fenced"     // the blocklist is in effect: nothing on the node can write, and its pods are moved
	NodeRecovering NodeState = "Recovering" // it responds again and removes what it is no longer allowed to run
)

// NodeEvent is something that moves a node from one state to another.
type NodeEvent string

// The events in the life of a node. Heartbeat and clean come from the node's agent, fence-confirmed from Ceph, and the others from the leader or
// an operator.
const (
	NodeHeartbeat      NodeEvent = "heartbeat"
	NodeLate           NodeEvent = "late"
	NodeLeaseRanOut    NodeEvent = "lease-ran-out"
	NodeFence          NodeEvent = "fence"
	NodeFenceConfirmed NodeEvent = "fence-confirmed"
	NodeClean          NodeEvent = "clean"
)

// NodeStates lists every state, in the order in which a node goes through them.
var NodeStates = []NodeState{NodeJoining, NodeReady, NodeSuspect, NodeLost, NodeFencing, NodeFenced, NodeRecovering}

// NodeEvents lists every event.
var NodeEvents = []NodeEvent{NodeHeartbeat, NodeLate, NodeLeaseRanOut, NodeFence, NodeFenceConfirmed, NodeClean}

// nodeTable is the state machine of nodes. An event that a state does not list does not change it.
var nodeTable = map[NodeState]map[NodeEvent]NodeState{
	NodeJoining: {NodeHeartbeat: NodeReady},
	NodeReady:   {NodeLate: NodeSuspect, NodeLeaseRanOut: NodeLost, NodeFence: NodeFencing},
	NodeSuspect: {NodeHeartbeat: NodeReady, NodeLeaseRanOut: NodeLost, NodeFence: NodeFencing},
	NodeLost:    {NodeHeartbeat: NodeReady, NodeFence: NodeFencing},
	NodeFencing: {NodeFenceConfirmed: NodeFenced},
	NodeFenced:  {NodeHeartbeat: NodeRecovering},
	// It may go silent again: it stays fenced, so nothing has to be done.
	NodeRecovering: {NodeClean: NodeReady},
}

// Next returns the state after an event.
func (s NodeState) Next(e NodeEvent) NodeState {
	if next, ok := nodeTable[s][e]; ok {
		return next
	}
	return s
}

// Before returns the states in which an event leads to another state, and which.
func (e NodeEvent) Before() map[NodeState]NodeState {
	before := map[NodeState]NodeState{}
	for _, s := range NodeStates {
		if next := s.Next(e); next != s {
			before[s] = next
		}
	}
	return before
}

// NodeDiagram returns the state machine as a Mermaid diagram, for docs/.
func NodeDiagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> Joining: join\n")
	for _, from := range NodeStates {
		for _, e := range NodeEvents {
			if to := from.Next(e); to != from {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, e)
			}
		}
	}
	return b.String()
}
