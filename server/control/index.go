// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// index is the scheduler's view of the nodes. It is kept up to date from pass to pass: each pass re-reads the nodes whose version has changed,
// and keeps the others. After as many changes of nodes as there are nodes, it is rebuilt, so that labels and nodes that no longer exist
// take no memory. It belongs to one goroutine.
type index struct {
	store  store.Control
	log    *slog.Logger
	fleet  *scheduler.Fleet // nil if everything must be read again
	params scheduler.Params
	nodes  map[store.ID]*indexNode
	byAt   []store.ID // ids of the nodes by their index in the fleet
	pods   map[store.PodKey]placedPod
	keys   map[scheduler.Handle]store.PodKey
	// ruled are the tenants with a pod that has a rule about other pods. The index counts labels of these tenants' pods only.
	ruled map[store.ID]bool
	// rebuilt is true if the last sync read everything again, and changed are the nodes whose capacity or settings it found to be different.
	rebuilt bool
	changed []store.ID
	changes int // since everything was read
}

type indexNode struct {
	node  store.NodeCapacity
	at    int
	stale bool  // must be read again, whatever its version
	wrong int64 // the version at which its allocation did not match its pods
	pods  map[store.PodKey]bool
}

type placedPod struct {
	handle  scheduler.Handle
	size    husk.Resources // that is reserved
	leaving bool
}

// loadBatch is the number of nodes whose pods one query reads.
const loadBatch = 1000

func newIndex(s store.Control, log *slog.Logger) *index {
	return &index{store: s, log: log, params: scheduler.Default()}
}

// reset discards the index, after a commit with an unknown outcome.
func (x *index) reset() { x.fleet = nil }

// sync brings the index up to date and returns the nodes.
func (x *index) sync(ctx context.Context) ([]store.NodeCapacity, error) {
	nodes, err := x.store.NodeCapacities(ctx)
	if err != nil {
		return nil, err
	}
	if x.rebuilt = x.fleet == nil || x.changes > len(nodes); x.rebuilt {
		x.rebuild(nodes)
	}
	x.fleet.At(float64(time.Now().UnixMilli()) / 1000)
	x.changed = nil
	x.removeOthers(nodes)
	var stale []store.ID
	for _, r := range nodes {
		n := x.nodes[r.ID]
		switch {
		case n == nil:
			n = x.add(r)
		case n.differs(r):
			x.change(n, r)
		}
		if n.stale || n.node.Version != r.Version {
			stale, n.stale = append(stale, r.ID), true
		}
		n.node = r
	}
	if err := x.load(ctx, stale); err != nil {
		x.reset()
		return nil, err
	}
	leaving, err := x.store.LeavingPods(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range leaving {
		x.leave(key)
	}
	for _, n := range x.nodes {
		// A node may have changed between the two queries. It is not ready until both agree.
		free := husk.Resources{CPUMillis: n.node.Capacity.CPUMillis - n.node.Allocated.CPUMillis, MemoryMiB: n.node.Capacity.MemoryMiB - n.node.Allocated.MemoryMiB}
		n.stale = husk.Resources(x.fleet.Free(n.at)) != free
		if n.stale {
			if n.wrong == n.node.Version {
				x.log.Error("the node's allocation does not match its pods; not scheduling onto it", "node", n.node.ID, "free_by_allocation", free, "free_by_pods", x.fleet.Free(n.at))
			}
			n.wrong = n.node.Version
		}
		x.fleet.SetReady(n.at, n.node.State == husk.NodeReady && !n.node.Cordoned && !n.stale)
	}
	return nodes, nil
}

// differs reports whether the capacity or the settings of the node have changed.
func (n *indexNode) differs(r store.NodeCapacity) bool {
	return n.node.Capacity != r.Capacity || n.node.VMMOverheadMiB != r.VMMOverheadMiB || n.node.ScratchGiB != r.ScratchGiB || n.node.Pool != r.Pool ||
		!maps.Equal(n.node.Labels, r.Labels) || !slices.Equal(n.node.Capabilities, r.Capabilities) || !slices.Equal(n.node.Taints, r.Taints)
}

// change gives a node its new capacity and settings. Its pods are read again.
func (x *index) change(n *indexNode, r store.NodeCapacity) {
	x.empty(n)
	x.fleet.ChangeNode(n.at, schedulerNode(r))
	n.stale = true
	x.changes++
	x.changed = append(x.changed, r.ID)
}

// removeOthers removes the nodes that no longer exist.
func (x *index) removeOthers(nodes []store.NodeCapacity) {
	exists := make(map[store.ID]bool, len(nodes))
	for _, r := range nodes {
		exists[r.ID] = true
	}
	for id, n := range x.nodes {
		if exists[id] {
			continue
		}
		x.empty(n)
		x.fleet.RemoveNode(n.at)
		delete(x.nodes, id)
		x.changes++
	}
}

// empty forgets the pods of a node.
func (x *index) empty(n *indexNode) {
	for key := range n.pods {
		x.forget(n, key, x.fleet.Forget)
	}
}

func (x *index) rebuild(nodes []store.NodeCapacity) {
	x.nodes, x.byAt, x.changes = make(map[store.ID]*indexNode, len(nodes)), nil, 0
	x.pods, x.keys, x.ruled = map[store.PodKey]placedPod{}, map[scheduler.Handle]store.PodKey{}, map[store.ID]bool{}
	empty := make([]scheduler.Node, len(nodes))
	byName := make(map[string]store.NodeCapacity, len(nodes))
	for i, r := range nodes {
		empty[i] = schedulerNode(r)
		byName[r.Name] = r
	}
	x.fleet = scheduler.NewFleet(empty, x.params)
	for at := range x.fleet.Len() {
		r := byName[x.fleet.Node(at)]
		x.byAt = append(x.byAt, r.ID)
		x.nodes[r.ID] = &indexNode{node: r, at: at, stale: true, pods: map[store.PodKey]bool{}}
	}
}

func (x *index) add(r store.NodeCapacity) *indexNode {
	n := &indexNode{node: r, at: x.fleet.AddNode(schedulerNode(r)), stale: true, pods: map[store.PodKey]bool{}}
	x.byAt = append(x.byAt, r.ID)
	x.nodes[r.ID] = n
	return n
}

// schedulerNode returns an empty node. It becomes ready when its pods are loaded.
func schedulerNode(r store.NodeCapacity) scheduler.Node {
	return scheduler.Node{
		ID: r.Name, Capacity: scheduler.Resources(r.Capacity), Overhead: scheduler.Resources{MemoryMiB: r.VMMOverheadMiB},
		Extra: []int{r.ScratchGiB}, Labels: withCapabilities(r.Labels, r.Capabilities), Pool: r.Pool, Taints: r.Taints,
	}
}

// withCapabilities returns labels, or a node selector, together with a label for each capability. No
// label of a node or a tenant begins with the same character.
func withCapabilities(labels map[string]string, capabilities []string) map[string]string {
	if len(capabilities) == 0 {
		return labels
	}
	all := make(map[string]string, len(labels)+len(capabilities))
	maps.Copy(all, labels)
	for _, c := range capabilities {
		all["~"+c] = ""
	}
	return all
}

// load reads the pods of these nodes.
func (x *index) load(ctx context.Context, nodes []store.ID) error {
	for batch := range slices.Chunk(nodes, loadBatch) {
		pods, err := x.store.PlacedPods(ctx, batch)
		if err != nil {
			return err
		}
		tenants := map[store.ID]bool{}
		for _, p := range pods {
			x.rule(tenants, p.TenantID, p.Scheduling)
		}
		if err := x.readAgain(ctx, tenants, batch); err != nil {
			return err
		}
		there := make(map[store.PodKey]bool, len(pods))
		for _, p := range pods {
			there[p.PodKey] = true
		}
		for _, id := range batch {
			n := x.nodes[id]
			for key := range n.pods {
				if !there[key] {
					x.forget(n, key, x.fleet.Release)
				}
			}
		}
		for _, p := range pods {
			x.adopt(p)
		}
	}
	return nil
}

// rule adds a tenant to begin if this pod is its first with rules.
func (x *index) rule(begin map[store.ID]bool, tenant store.ID, s husk.Scheduling) {
	if hasRules(s) && !x.ruled[tenant] {
		x.ruled[tenant], begin[tenant] = true, true
	}
}

// ruleFor makes the index count the labels that rules of these pending pods may refer to.
func (x *index) ruleFor(ctx context.Context, pods []store.PendingPod) error {
	tenants := map[store.ID]bool{}
	for _, p := range pods {
		x.rule(tenants, p.TenantID, p.Scheduling)
	}
	return x.readAgain(ctx, tenants, nil)
}

// readAgain reads the pods of these tenants again, this time with their labels. It skips nodes that are being read anyway.
func (x *index) readAgain(ctx context.Context, tenants map[store.ID]bool, reading []store.ID) error {
	if len(tenants) == 0 {
		return nil
	}
	nodes, err := x.store.NodesOfTenants(ctx, slices.Collect(maps.Keys(tenants)))
	if err != nil {
		return err
	}
	for key := range x.pods {
		if tenants[key.TenantID] {
			x.forget(x.nodes[x.byAt[x.fleet.NodeOf(x.pods[key].handle)]], key, x.fleet.Forget)
		}
	}
	known := map[store.ID]bool{}
	for _, id := range reading {
		known[id] = true
	}
	nodes = slices.DeleteFunc(nodes, func(id store.ID) bool { return x.nodes[id] == nil || known[id] })
	return x.load(ctx, nodes)
}

func (x *index) forget(n *indexNode, key store.PodKey, release func(scheduler.Handle)) {
	p := x.pods[key]
	release(p.handle)
	delete(n.pods, key)
	delete(x.pods, key)
	delete(x.keys, p.handle)
}

func (x *index) adopt(p store.PlacedPod) {
	n := x.nodes[p.Node]
	if was, known := x.pods[p.PodKey]; known {
		if n.pods[p.PodKey] && was.size == p.Size {
			return
		}
		x.forget(x.nodes[x.byAt[x.fleet.NodeOf(was.handle)]], p.PodKey, x.fleet.Forget) // it was evicted and is on another node now, or has another size
	}
	pod := x.pod(p.PodKey, p.Size, p.ScratchGiB, p.Labels, p.Scheduling)
	pod.Size.MemoryMiB += p.Overhead - n.node.VMMOverheadMiB // allocated with the overhead that its node had when it was placed
	h := x.fleet.Adopt(n.at, &pod, float64(p.PlacedAt.UnixMilli())/1000)
	if x.placed(n, p.PodKey, p.Size, h); p.Leaving {
		x.leave(p.PodKey)
	}
}

// leave marks a pod that is being stopped.
func (x *index) leave(key store.PodKey) {
	if p, known := x.pods[key]; known && !p.leaving {
		p.leaving = true
		x.pods[key] = p
		x.fleet.Leaving(p.handle)
	}
}

// placed records the node of a pod.
func (x *index) placed(n *indexNode, key store.PodKey, size husk.Resources, h scheduler.Handle) {
	n.pods[key], x.pods[key], x.keys[h] = true, placedPod{handle: h, size: size}, key
}

// nodeOf returns the node at this position of the fleet.
func (x *index) nodeOf(at int) *indexNode { return x.nodes[x.byAt[at]] }

// nodeOfPod returns the node of a pod, or the zero ID if it is on none.
func (x *index) nodeOfPod(key store.PodKey) store.ID {
	p, known := x.pods[key]
	if !known {
		return store.ID{}
	}
	return x.byAt[x.fleet.NodeOf(p.handle)]
}

func hasRules(s husk.Scheduling) bool { return len(s.Rules) > 0 || s.Disruption != nil }

// pod converts a pod for the scheduler.
func (x *index) pod(key store.PodKey, size husk.Resources, scratchGiB int, labels map[string]string, s husk.Scheduling) scheduler.Pod {
	p := scheduler.Pod{
		ID: key.ID.String(), Size: scheduler.Resources(size), Priority: s.Priority, Selector: s.NodeSelector, Prefers: s.PreferredNodeSelector,
		Tolerates: s.Tolerations, Lifetime: float64(s.ExpectedLifetimeSeconds),
	}
	if scratchGiB > 0 {
		p.Extra = []int{scratchGiB}
	}
	group := func(label, value string) string { return key.TenantID.String() + "/" + label + "=" + value }
	if x.ruled[key.TenantID] {
		for k, v := range labels {
			p.Groups = append(p.Groups, group(k, v))
		}
		slices.Sort(p.Groups)
	}
	kinds := map[string]scheduler.RuleKind{
		husk.RuleAffinity: scheduler.Near, husk.RuleAntiAffinity: scheduler.Apart, husk.RuleSpread: scheduler.Spread,
	}
	for _, r := range s.Rules {
		value := r.Value
		if value == "" {
			value = labels[r.Label]
		}
		p.Rules = append(p.Rules, scheduler.Rule{Kind: kinds[r.Kind], Group: group(r.Label, value), Over: r.TopologyKey, MaxSkew: r.MaxSkew})
	}
	if d := s.Disruption; d != nil {
		p.Disruption.Keep = d.MinAvailable
		if d.Label != "" {
			p.Disruption.Group = group(d.Label, labels[d.Label])
		}
	}
	return p
}
