// SPDX-License-Identifier: Apache-2.0

package scheduler

// Resources is an amount of cpu and memory.
type Resources struct {
	CPUMillis int // 1000 is one core
	MemoryMiB int
}

func (r Resources) plus(o Resources) Resources {
	return Resources{r.CPUMillis + o.CPUMillis, r.MemoryMiB + o.MemoryMiB}
}

func (r Resources) minus(o Resources) Resources {
	return Resources{r.CPUMillis - o.CPUMillis, r.MemoryMiB - o.MemoryMiB}
}

func (r Resources) holds(o Resources) bool {
	return r.CPUMillis >= o.CPUMillis && r.MemoryMiB >= o.MemoryMiB
}

// Node is one machine in a snapshot.
type Node struct {
	ID    string
	Ready bool
	// Capacity is what can be allocated to pods: memory as it is, and cpu times the overcommit
	// ratio of the node's pool.
	Capacity  Resources
	Allocated Resources // what already runs there; a node with nothing allocated counts as empty, and opening it has a price
	Overhead  Resources // what every pod costs on this node in addition to its own size
	// Extra is the free amount of each further resource, such as GPUs or volumes to attach. The caller
	// chooses the order of the resources, and uses the same order in Pod.Extra. These resources are
	// filters: they must be free, but do not influence the score. The model of a device, such as a
	// GPU, is a label.
	Extra []int
	// Labels are what selectors match. Rules count pods by the value of a label (a zone, a rack). The
	// labels NodeLabel and PoolLabel are built in.
	Labels map[string]string
	// Pool is the pool to which this node belongs. It is the value of PoolLabel.
	Pool string
	// Taints exclude pods that do not tolerate every one of them.
	Taints []string
}

// Labels that every node has.
const (
	NodeLabel = "node" // its own id
	PoolLabel = "pool" // its pool, if it is in one
)

// Pod is one pod of a batch.
type Pod struct {
	ID    string
	Size  Resources
	Extra []int // in the same order as the node's; a missing amount is zero
	// Lifetime is how long the pod is expected to run, in seconds; 0 is unknown. It influences the
	// choice of the node, but not whether the pod fits.
	Lifetime float64
	// Priority: pods with a higher priority are placed first within a batch, and may preempt pods
	// with a lower one (see Fleet.Preempt).
	Priority int
	// Selector lists the labels that the node must have.
	Selector map[string]string
	// Prefers lists labels of preferred nodes. Other nodes are used only if the pod fits on none of
	// the preferred ones.
	Prefers map[string]string
	// Tolerates lists the taints that do not exclude this pod.
	Tolerates []string
	// Gang is a name. The pods of a batch with the same gang are either all placed, or none of them
	// is. Empty means no gang.
	Gang string
	// Groups are the groups to which this pod belongs. The caller chooses the names (for example: a
	// tenant's pods with the label app=web).
	Groups []string
	// Rules restrict the node by where the pods of a group run.
	Rules []Rule
	// Disruption limits the evictions from a group.
	Disruption Disruption
}

// RuleKind is how a pod's node depends on where the pods of a group run.
type RuleKind string

// The kinds of rules.
const (
	// Apart is anti-affinity: the pod runs on no node with the same value of the label as a node on
	// which a pod of the group runs. It is symmetric: as long as the pod runs, pods of the group are
	// not placed on nodes with its node's value.
	Apart RuleKind = "apart"
	// Near is affinity: the pod runs on a node with the same value of the label as a node on which a
	// pod of the group runs. As long as the group has no pods, any node with the label is allowed, so
	// that its first pod can be placed.
	Near RuleKind = "near"
	// Spread limits differences: after the pod is placed, its node's value of the label has at most
	// MaxSkew more pods of the group than the value with the fewest.
	Spread RuleKind = "spread"
)

// Rule restricts a pod's node by where the pods of a group run. A node without the label never
// satisfies a rule.
type Rule struct {
	Kind    RuleKind
	Group   string
	Over    string // the node label whose values are compared: a zone, a rack, or NodeLabel
	MaxSkew int    // for Spread, at least 1
}

// Disruption protects running pods: while this pod runs, no pod of the group is evicted unless at
// least Keep of them stay. The zero value protects nothing. With an empty group and a Keep above 0,
// the pod itself is never evicted.
type Disruption struct {
	Group string
	Keep  int
}
