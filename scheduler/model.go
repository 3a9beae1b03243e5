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
	ID    string
	Ready bool
	// Capacity is what the pods may be promised: memory as it is, and cpu times the overcommit ratio of the node's pool.
	Capacity  Resources
	Allocated Resources // what runs there already; a node with nothing allocated counts as empty, and opening it has a price
	Overhead  Resources // what every pod costs on this node beside its own size
	// Extra are free amounts of further resources, volumes attachable or GPUs, in an order that the caller chooses and the pods share.
	// They are filters: a pod must find them, but they are not packed by. Kinds of a device, the model of a GPU, are labels.
	Extra []int
	// Labels are what selectors ask for, and what rules count over (a zone, a rack; the node's id and its pool are built in).
	Labels map[string]string
	// Pool is the group of nodes that this one is managed in; PoolLabel has it as its value.
	Pool string
	// Taints keep pods away that do not tolerate every one of them.
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
	Extra []int // as the node's; missing ones are none
	// Lifetime is how long the pod is expected to run, in seconds; 0 is unknown. It steers and never decides whether a pod fits.
	Lifetime float64
	// Priority: higher is placed first within a batch, and may evict lower (see Fleet.Preempt).
	Priority int
	// Selector lists the labels that the node must have.
	Selector map[string]string
	// Prefers lists labels of nodes that are taken before all others, if one of them has room.
	Prefers map[string]string
	// Tolerates lists the taints that do not keep this pod away.
	Tolerates []string
	// Gang names pods of a batch that are placed all or none. Empty is no gang.
	Gang string
	// Groups are what this pod counts in, by any names the caller chooses (a tenant's pods with the label app=web).
	Groups []string
	// Rules bind the pod's place to where the pods of a group are.
	Rules []Rule
	// Disruption bounds what may be evicted of a group.
	Disruption Disruption
}

// RuleKind is a way in which a pod's place depends on a group's.
type RuleKind string

// The kinds of rules.
const (
	// Apart keeps the pod away from every value of the label that a pod of the group has, and as long as it runs keeps the pods of the
	// group away from its own.
	Apart RuleKind = "apart"
	// Near puts the pod where a pod of the group is. While the group has none, any node with the label will do: the first comes somewhere.
	Near RuleKind = "near"
	// Spread lets no value of the label have more than MaxSkew pods of the group more than another.
	Spread RuleKind = "spread"
)

// Rule binds a pod's place to where the pods of a group are. A node without the label never satisfies one.
type Rule struct {
	Kind    RuleKind
	Group   string
	Over    string // a node label whose values count as one place: a zone, a rack, or NodeLabel
	MaxSkew int    // of Spread, at least 1
}

// Disruption keeps pods running: while a pod that says so runs, no pod of the group is evicted unless at least Keep of them stay. The
// zero value says nothing. With an empty group and a Keep above 0 the pod itself is never evicted.
type Disruption struct {
	Group string
	Keep  int
}
