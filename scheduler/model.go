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
	// Extra is the free amount of each further resource, such as volumes to attach or GPUs, in an
	// order that the caller chooses and the pods share. These resources are filters: they must be
	// free, but do not influence the score. The model of a device, such as a GPU, is a label.
	Extra []int
	// Labels are matched by selectors, and rules count pods by their values (a zone, a rack). The
	// node's id and its pool are built in.
	Labels map[string]string
	// Pool is the group in which this node is managed. It is the value of PoolLabel.
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
	// these.
	Prefers map[string]string
	// Tolerates lists the taints that do not exclude this pod.
	Tolerates []string
	// Gang names pods of a batch of which either all are placed or none. Empty means no gang.
	Gang string
	// Groups are the groups in which this pod counts. The caller chooses the names (for example: a
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
	// Apart is anti-affinity. It excludes every value of the label that a pod of the group has. It
	// is symmetric: as long as the pod runs, its value of the label is excluded for pods of the
	// group.
	Apart RuleKind = "apart"
	// Near is affinity: the pod runs where a pod of the group runs. As long as the group has no
	// pods, any node with the label is allowed, so that its first pod can be placed.
	Near RuleKind = "near"
	// Spread limits the difference: for any two values of the label, the numbers of the group's
	// pods differ by at most MaxSkew.
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
