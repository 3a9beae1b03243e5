package husk

import (
	"time"

	"github.com/google/uuid"
)

// Scheduling is what a pod asks of its place beside room. The zero value asks nothing.
type Scheduling struct {
	// Priority: a higher one is placed first, and may evict lower ones. A tenant's quota says up to which it may go.
	Priority int `json:"priority,omitempty"`
	// NodeSelector lists the labels that the node must have; "pool" is the node's pool.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// PreferredNodeSelector lists labels of nodes that are taken before all others, while one of them has room.
	PreferredNodeSelector map[string]string `json:"preferredNodeSelector,omitempty"`
	// Tolerations are the taints that do not keep the pod away.
	Tolerations []string `json:"tolerations,omitempty"`
	// Rules bind the place to where other pods of the tenant run.
	Rules []SchedulingRule `json:"rules,omitempty"`
	Gang  *Gang            `json:"gang,omitempty"`
	// Disruption bounds evictions.
	Disruption *Disruption `json:"disruption,omitempty"`
	// ExpectedLifetimeSeconds is a hint: pods that end at about the same time are put together.
	ExpectedLifetimeSeconds int64 `json:"expectedLifetimeSeconds,omitempty"`
}

// The kinds of a scheduling rule.
const (
	RuleAffinity     = "Affinity"     // where a pod with the label is; anywhere while there is none
	RuleAntiAffinity = "AntiAffinity" // where no pod with the label is, and keeps them away
	RuleSpread       = "Spread"       // evenly over the topology
)

// SchedulingRule is about the tenant's pods that have a label with a value.
type SchedulingRule struct {
	Kind  string `json:"kind"`
	Label string `json:"label"`
	Value string `json:"value,omitempty"` // empty is the pod's own value of the label
	// TopologyKey is the node label whose values are the places: zone, rack, or "node" for the node itself.
	TopologyKey string `json:"topologyKey"`
	MaxSkew     int    `json:"maxSkew,omitempty"` // of Spread, 1 unless given
}

// Gang is a number of the tenant's pods that are placed all at once or not at all.
type Gang struct {
	Name string `json:"name"`
	Size int    `json:"size"` // none is placed before so many are ordered
}

// Disruption keeps pods running that could be evicted.
type Disruption struct {
	// Label, with the pod's own value, says which pods of the tenant are counted. Without it the pod itself is never evicted.
	Label        string `json:"label,omitempty"`
	MinAvailable int    `json:"minAvailable,omitempty"`
}

// Placement is what the scheduler decided about a pod, and why.
type Placement struct {
	Outcome   PlacementOutcome  `json:"outcome"`
	DecidedAt *time.Time        `json:"decidedAt,omitempty"`
	Attempts  int               `json:"attempts"`            // that found no place, since it last had one
	NextTryAt *time.Time        `json:"nextTryAt,omitempty"` // at the latest; room that appears is tried at once
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
	PlacementUndecided PlacementOutcome = "Undecided" // not looked at yet
	PlacementWaiting   PlacementOutcome = "Waiting"   // for something of its own, such as an image
	PlacementRefused   PlacementOutcome = "Refused"   // no node has room
	PlacementPlaced    PlacementOutcome = "Placed"
)

// PlacementScore says how the node was chosen. Less is better in all parts; a node is an average node of the cluster.
type PlacementScore struct {
	NodesCompared  int     `json:"nodesCompared"`
	OpenedNode     bool    `json:"openedNode"`     // the node ran nothing before
	StrandedBefore float64 `json:"strandedBefore"` // nodes' worth of its room that pods of the usual sizes could not use
	StrandedAfter  float64 `json:"strandedAfter"`
	LeftFree       float64 `json:"leftFree"` // the larger share of a node that is left, which decides between equals
	Total          float64 `json:"total"`    // what was compared
}

// PlacementRefusal says how many nodes failed on what. A node that fails one filter is not asked for the next, in the order of the fields.
type PlacementRefusal struct {
	Nodes         int            `json:"nodes"`
	NotReady      int            `json:"notReady"` // or cordoned
	NotSelected   int            `json:"notSelected"`
	NotTolerated  int            `json:"notTolerated"`
	Crowded       int            `json:"crowded"`           // ruled out by where pods of the tenant run
	LackCPU       int            `json:"lackCPU,omitempty"` // nodes may lack both, and count in each
	LackMemory    int            `json:"lackMemory,omitempty"`
	NeverFits     bool           `json:"neverFits"` // no node that may take it could hold it even when empty
	NearestNode   string         `json:"nearestNode,omitempty"`
	NearestLacks  *Resources     `json:"nearestLacks,omitempty"`
	WouldMakeRoom []PlacementPod `json:"wouldMakeRoom,omitempty"` // the smallest pods of one node whose going would be enough
}

// PlacementPod is a pod that takes room.
type PlacementPod struct {
	ID        uuid.UUID `json:"id"`
	TenantID  uuid.UUID `json:"tenantId"`
	Resources Resources `json:"resources"`
}

// Pool is a group of nodes that are managed alike.
type Pool struct {
	Name string `json:"name"`
	// CPUOvercommit is how much cpu is promised for what is there. Memory is never overcommitted.
	CPUOvercommit float64   `json:"cpuOvercommit"`
	Nodes         int       `json:"nodes"`
	CreatedAt     time.Time `json:"createdAt"`
}

// NodeSettings is what operators decide about a node.
type NodeSettings struct {
	Pool     string            `json:"pool,omitempty"`
	Labels   map[string]string `json:"labels"`
	Taints   []string          `json:"taints"`
	Cordoned bool              `json:"cordoned"` // takes no new pods
}

// Defragmentation is a proposal to empty nodes by moving their pods onto others.
type Defragmentation struct {
	DryRun bool        `json:"dryRun"`
	Freed  []FreedNode `json:"freed"`
	Moves  int         `json:"moves"`
	Gain   Resources   `json:"gain"` // capacity of the nodes that become empty
}

// FreedNode is a node that can be emptied.
type FreedNode struct {
	NodeID   uuid.UUID   `json:"nodeId"`
	NodeName string      `json:"nodeName"`
	Gain     Resources   `json:"gain"`        // the node's capacity
	PerMove  Resources   `json:"gainPerMove"` // the same, for each restart that it costs
	Moves    []FreedMove `json:"moves"`
}

// FreedMove is a pod that is stopped on one node and started on another.
type FreedMove struct {
	PodID      uuid.UUID `json:"podId"`
	TenantID   uuid.UUID `json:"tenantId"`
	ToNodeName string    `json:"toNodeName"` // where it would go now
	Resources  Resources `json:"resources"`
}
