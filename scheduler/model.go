package scheduler

// Resources is an amount of what a node can run out of.
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
	ID        string
	Ready     bool
	Capacity  Resources
	Allocated Resources // what runs there already; a node with nothing allocated counts as empty, and opening it has a price
	Overhead  Resources // what every pod costs on this node beside its own size
	// Extra are free amounts of further resources, volumes attachable or GPUs, in an order that the caller chooses and the pods share.
	// They are filters: a pod must find them, but they are not packed by.
	Extra []int
	// Labels are what selectors ask for, and what spread and separation count over (a zone, a rack; the node's id is built in).
	Labels map[string]string
}

// Pod is one pod of a batch.
type Pod struct {
	ID    string
	Size  Resources
	Extra []int // as the node's; missing ones are none
	// Lifetime is how long the pod is expected to run, in seconds; 0 is unknown. It steers and never decides whether a pod fits.
	Lifetime float64
	Priority int // higher is placed first within a batch
	// Selector lists the labels that the node must have.
	Selector map[string]string
	// Gang names pods of a batch that are placed all or none. Empty is no gang.
	Gang string
	// Group names the pods that Spread and Apart count, by any name the caller chooses (an application).
	Group string
	// Apart is a label that no two pods of the group may share the value of: a rack, a zone, or NodeLabel. Empty is no rule.
	Apart string
	// Spread is a label over whose values the group's pods may differ by at most MaxSkew. Empty is no rule.
	Spread  string
	MaxSkew int // at least 1 where Spread is given
}

// NodeLabel is the label that every node has with its own id as the value.
const NodeLabel = "node"

// Placement puts a pod on a node.
type Placement struct{ PodID, NodeID string }

// Plan is the outcome for a batch: every pod is in exactly one of the two.
type Plan struct {
	Placements []Placement
	Refusals   []Refusal
}
