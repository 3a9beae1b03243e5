// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Scheduling is what a pod requires or prefers of its node in addition to capacity. The zero value requires nothing.
type Scheduling struct {
	// Priority: pods with a higher one are placed first and can evict pods with a lower one. The tenant's quota limits it.
	Priority int `json:"priority,omitempty"`
	// NodeSelector lists the labels that the node must have; "pool" is the node's pool.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// PreferredNodeSelector lists labels of preferred nodes. Other nodes are used only if the pod fits on no preferred node.
	PreferredNodeSelector map[string]string `json:"preferredNodeSelector,omitempty"`
	// Tolerations are the taints that the pod tolerates.
	Tolerations []string `json:"tolerations,omitempty"`
	// Rules relate the pod's node to the nodes of the tenant's other pods.
	Rules []SchedulingRule `json:"rules,omitempty"`
	Gang  *Gang            `json:"gang,omitempty"`
	// Disruption limits evictions.
	Disruption *Disruption `json:"disruption,omitempty"`
	// ExpectedLifetimeSeconds is a hint. The scheduler places pods together that are expected to end at about the same time.
	ExpectedLifetimeSeconds int64 `json:"expectedLifetimeSeconds,omitempty"`
}

// The kinds of a scheduling rule.
const (
	RuleAffinity     = "Affinity"     // in a topology domain that has a pod with the label; anywhere if there is none
	RuleAntiAffinity = "AntiAffinity" // in a topology domain without a pod with the label; such pods are not placed there later either
	RuleSpread       = "Spread"       // evenly over the topology domains
)

// SchedulingRule relates a pod to those of the tenant's pods that have a label with a given value.
type SchedulingRule struct {
	Kind  string `json:"kind"`
	Label string `json:"label"`
	Value string `json:"value,omitempty"` // if empty, the pod's own value of the label
	// TopologyKey is the node label whose values are the topology domains: zone, rack, or "node" for the node itself.
	TopologyKey string `json:"topologyKey"`
	MaxSkew     int    `json:"maxSkew,omitempty"` // for Spread; defaults to 1
}

// Gang is a group of the tenant's pods that are placed all at once or not at all.
type Gang struct {
	Name string `json:"name"`
	Size int    `json:"size"` // none is placed before this many have been created
}

// Disruption protects pods from eviction.
type Disruption struct {
	// Label selects the tenant's pods that have the same value of this label as the pod. Without it, the pod is never evicted if
	// MinAvailable is at least 1.
	Label        string `json:"label,omitempty"`
	MinAvailable int    `json:"minAvailable,omitempty"`
}

// Placement is the scheduler's latest decision about a pod, with the reason.
type Placement struct {
	Outcome   PlacementOutcome  `json:"outcome"`
	DecidedAt *time.Time        `json:"decidedAt,omitempty"`
	Attempts  int               `json:"attempts"`            // failed attempts since the pod was last placed
	NextTryAt *time.Time        `json:"nextTryAt,omitempty"` // at the latest; the scheduler retries at once when capacity is freed
	NodeName  string            `json:"nodeName,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Message   string            `json:"message,omitempty"`
	Score     *PlacementScore   `json:"score,omitempty"`
	Refusal   *PlacementRefusal `json:"refusal,omitempty"`
}

// PlacementOutcome says how a decision went.
type PlacementOutcome string

// The outcomes.
const (
	PlacementUndecided PlacementOutcome = "Undecided" // the scheduler has not seen it yet
	PlacementWaiting   PlacementOutcome = "Waiting"   // it waits for one of its own objects, such as an image
	PlacementRefused   PlacementOutcome = "Refused"   // it fits on no node
	PlacementPlaced    PlacementOutcome = "Placed"
)

// PlacementScore is how the node was chosen. Lower is better in every field. The unit is an average node of the fleet.
type PlacementScore struct {
	NodesCompared  int     `json:"nodesCompared"`
	OpenedNode     bool    `json:"openedNode"`     // the node was empty before
	StrandedBefore float64 `json:"strandedBefore"` // free capacity that pods of the usual sizes could not use
	StrandedAfter  float64 `json:"strandedAfter"`
	LeftFree       float64 `json:"leftFree"` // the larger share of cpu and memory that stays free; breaks ties
	Total          float64 `json:"total"`    // the value by which nodes were compared
}

// PlacementRefusal counts the nodes that each filter ruled out, in the order of the fields. A node counts only for the first filter that
// ruled it out.
type PlacementRefusal struct {
	Nodes         int            `json:"nodes,omitempty"`
	NotReady      int            `json:"notReady,omitempty"` // or cordoned
	NotSelected   int            `json:"notSelected,omitempty"`
	NotTolerated  int            `json:"notTolerated,omitempty"`
	Crowded       int            `json:"crowded,omitempty"` // ruled out by the nodes of the tenant's other pods
	LackCPU       int            `json:"lackCPU,omitempty"` // nodes that lack both count in both
	LackMemory    int            `json:"lackMemory,omitempty"`
	NeverFits     bool           `json:"neverFits"` // it would not fit even if the eligible nodes were empty
	NearestNode   string         `json:"nearestNode,omitempty"`
	NearestLacks  *Resources     `json:"nearestLacks,omitempty"`
	WouldMakeRoom []PlacementPod `json:"wouldMakeRoom,omitempty"` // the smallest set of pods on one node whose removal would let the pod fit
}

// PlacementPod is a pod that occupies capacity.
type PlacementPod struct {
	ID        uuid.UUID `json:"id"`
	TenantID  uuid.UUID `json:"tenantId"`
	Resources Resources `json:"resources"`
}

// Pool is a group of nodes with the same settings.
type Pool struct {
	Name string `json:"name"`
	// CPUOvercommit is the ratio of schedulable to physical cpu. Memory is never overcommitted.
	CPUOvercommit float64   `json:"cpuOvercommit"`
	Nodes         int       `json:"nodes"`
	CreatedAt     time.Time `json:"createdAt"`
}

// NodeSettings is what an operator sets on a node.
type NodeSettings struct {
	Pool     string            `json:"pool,omitempty"`
	Labels   map[string]string `json:"labels"`
	Taints   []string          `json:"taints"`
	Cordoned bool              `json:"cordoned"` // takes no new pods
}

// Defragmentation is a proposal to drain nodes by moving their pods to other nodes.
type Defragmentation struct {
	DryRun bool        `json:"dryRun"`
	Freed  []FreedNode `json:"freed"`
	Moves  int         `json:"moves"`
	Gain   Resources   `json:"gain"` // total capacity of the nodes that become empty
}

// FreedNode is a node that can be drained.
type FreedNode struct {
	NodeID   uuid.UUID   `json:"nodeId"`
	NodeName string      `json:"nodeName"`
	Gain     Resources   `json:"gain"`        // the node's capacity
	PerMove  Resources   `json:"gainPerMove"` // the capacity divided by the number of restarts that it costs
	Moves    []FreedMove `json:"moves"`
}

// FreedMove is a pod that stops on one node and starts on another.
type FreedMove struct {
	PodID      uuid.UUID `json:"podId"`
	TenantID   uuid.UUID `json:"tenantId"`
	ToNodeName string    `json:"toNodeName"` // the node that it would be placed on now
	Resources  Resources `json:"resources"`
}

// CheckLabels checks that a pod with these labels has those that its rules refer to. Codes: invalid.
func (s Scheduling) CheckLabels(labels map[string]string) error {
	for i, r := range s.Rules {
		if _, has := labels[r.Label]; r.Value == "" && !has {
			return Errorf(CodeInvalid, fmt.Sprintf("spec.scheduling.rules[%d].label", i), "the pod has no label %q; add the label to the pod, or set a value in the rule", r.Label)
		}
	}
	if d := s.Disruption; d != nil && d.Label != "" {
		if _, has := labels[d.Label]; !has {
			return Errorf(CodeInvalid, "spec.scheduling.disruption.label", "the pod has no label %q", d.Label)
		}
	}
	return nil
}
