package server

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

// cluster is the scheduler's index, kept true to the database from pass to pass: a node whose version has moved is read again, the others
// are as they were. It belongs to one goroutine.
type cluster struct {
	store *store.Store
	log   *slog.Logger
	fleet *scheduler.Fleet // nil: read everything again
	nodes map[store.ID]*clusterNode
	byAt  []store.ID // ids of the nodes by their index in the fleet
	pods  map[store.PodKey]placedPod
	keys  map[scheduler.Handle]store.PodKey
	// ruled are the tenants some pod of which has a rule about others. Only their pods' labels are counted.
	ruled map[store.ID]bool
	// rebuilt says that the last sync read everything anew.
	rebuilt bool
}

type clusterNode struct {
	room  store.NodeRoom
	at    int
	stale bool  // is to be read again, whatever its version
	wrong int64 // the version at which its charge was not what its pods come to
	pods  map[store.PodKey]bool
}

type placedPod struct {
	handle  scheduler.Handle
	leaving bool
}

// loadBatch is how many nodes' pods are read at a time.
const loadBatch = 1000

func newCluster(s *store.Store, log *slog.Logger) *cluster { return &cluster{store: s, log: log} }

// reset forgets what was known, after an outcome that is not.
func (c *cluster) reset() { c.fleet = nil }

// sync brings the index up to date and returns the nodes.
func (c *cluster) sync(ctx context.Context) ([]store.NodeRoom, error) {
	rooms, err := c.store.NodeRooms(ctx)
	if err != nil {
		return nil, err
	}
	if c.rebuilt = c.fleet == nil || !c.sameNodes(rooms); c.rebuilt {
		c.rebuild(rooms)
	}
	c.fleet.At(float64(time.Now().UnixMilli()) / 1000)
	var stale []store.ID
	for _, r := range rooms {
		n := c.nodes[r.ID]
		if n == nil {
			n = c.add(r)
		}
		if n.stale || n.room.Version != r.Version {
			stale, n.stale = append(stale, r.ID), true
		}
		n.room = r
	}
	if err := c.load(ctx, stale); err != nil {
		c.reset()
		return nil, err
	}
	leaving, err := c.store.LeavingPods(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range leaving {
		c.leave(key)
	}
	for _, n := range c.nodes {
		// Between the two statements a node may have changed. It is left out until both agree.
		free := husk.Resources{CPUMillis: n.room.Capacity.CPUMillis - n.room.Allocated.CPUMillis, MemoryMiB: n.room.Capacity.MemoryMiB - n.room.Allocated.MemoryMiB}
		n.stale = husk.Resources(c.fleet.Free(n.at)) != free
		if n.stale {
			if n.wrong == n.room.Version {
				c.log.Error("node is charged for other than what it holds; it gets no pods", "node", n.room.ID, "charged_free", free, "held_free", c.fleet.Free(n.at))
			}
			n.wrong = n.room.Version
		}
		c.fleet.SetReady(n.at, n.room.State == nodeReady && !n.room.Cordoned && !n.stale)
	}
	return rooms, nil
}

// sameNodes tells whether the nodes that are known are still there and as they were, but for what runs on them.
func (c *cluster) sameNodes(rooms []store.NodeRoom) bool {
	known := 0
	for _, r := range rooms {
		n := c.nodes[r.ID]
		if n == nil {
			continue
		}
		known++
		if n.room.Capacity != r.Capacity || n.room.VMMOverheadMiB != r.VMMOverheadMiB || n.room.Pool != r.Pool ||
			!maps.Equal(n.room.Labels, r.Labels) || !slices.Equal(n.room.Taints, r.Taints) {
			return false
		}
	}
	return known == len(c.nodes)
}

func (c *cluster) rebuild(rooms []store.NodeRoom) {
	c.nodes, c.byAt = make(map[store.ID]*clusterNode, len(rooms)), nil
	c.pods, c.keys, c.ruled = map[store.PodKey]placedPod{}, map[scheduler.Handle]store.PodKey{}, map[store.ID]bool{}
	nodes := make([]scheduler.Node, len(rooms))
	byName := make(map[string]store.NodeRoom, len(rooms))
	for i, r := range rooms {
		nodes[i] = schedulerNode(r)
		byName[r.Name] = r
	}
	c.fleet = scheduler.NewFleet(nodes, scheduler.Default())
	for at := range c.fleet.Len() {
		r := byName[c.fleet.Node(at)]
		c.byAt = append(c.byAt, r.ID)
		c.nodes[r.ID] = &clusterNode{room: r, at: at, stale: true, pods: map[store.PodKey]bool{}}
	}
}

func (c *cluster) add(r store.NodeRoom) *clusterNode {
	n := &clusterNode{room: r, at: c.fleet.AddNode(schedulerNode(r)), stale: true, pods: map[store.PodKey]bool{}}
	c.byAt = append(c.byAt, r.ID)
	c.nodes[r.ID] = n
	return n
}

// schedulerNode is an empty node; it is made ready when what runs there is known.
func schedulerNode(r store.NodeRoom) scheduler.Node {
	return scheduler.Node{
		ID: r.Name, Capacity: scheduler.Resources(r.Capacity), Overhead: scheduler.Resources{MemoryMiB: r.VMMOverheadMiB},
		Labels: r.Labels, Pool: r.Pool, Taints: r.Taints,
	}
}

// load reads what runs on some nodes.
func (c *cluster) load(ctx context.Context, nodes []store.ID) error {
	for batch := range slices.Chunk(nodes, loadBatch) {
		pods, err := c.store.PlacedPods(ctx, batch)
		if err != nil {
			return err
		}
		tenants := map[store.ID]bool{}
		for _, p := range pods {
			c.rule(tenants, p.TenantID, p.Scheduling)
		}
		if err := c.readAgain(ctx, tenants, batch); err != nil {
			return err
		}
		there := make(map[store.PodKey]bool, len(pods))
		for _, p := range pods {
			there[p.PodKey] = true
		}
		for _, id := range batch {
			n := c.nodes[id]
			for key := range n.pods {
				if !there[key] {
					c.forget(n, key, c.fleet.Release)
				}
			}
		}
		for _, p := range pods {
			c.adopt(p)
		}
	}
	return nil
}

// rule collects tenants that begin to have rules.
func (c *cluster) rule(begin map[store.ID]bool, tenant store.ID, s husk.Scheduling) {
	if hasRules(s) && !c.ruled[tenant] {
		c.ruled[tenant], begin[tenant] = true, true
	}
}

// ruleFor sees to it that the labels of all pods are counted that rules of pods that wait may be about.
func (c *cluster) ruleFor(ctx context.Context, pods []store.PendingPod) error {
	tenants := map[store.ID]bool{}
	for _, p := range pods {
		c.rule(tenants, p.TenantID, p.Scheduling)
	}
	return c.readAgain(ctx, tenants, nil)
}

// readAgain reads the pods of some tenants again, now with their labels, but for those on nodes that are being read anyway.
func (c *cluster) readAgain(ctx context.Context, tenants map[store.ID]bool, reading []store.ID) error {
	if len(tenants) == 0 {
		return nil
	}
	nodes, err := c.store.NodesOfTenants(ctx, slices.Collect(maps.Keys(tenants)))
	if err != nil {
		return err
	}
	for key := range c.pods {
		if tenants[key.TenantID] {
			c.forget(c.nodes[c.byAt[c.fleet.NodeOf(c.pods[key].handle)]], key, c.fleet.Forget)
		}
	}
	known := map[store.ID]bool{}
	for _, id := range reading {
		known[id] = true
	}
	nodes = slices.DeleteFunc(nodes, func(id store.ID) bool { return c.nodes[id] == nil || known[id] })
	return c.load(ctx, nodes)
}

func (c *cluster) forget(n *clusterNode, key store.PodKey, release func(scheduler.Handle)) {
	p := c.pods[key]
	release(p.handle)
	delete(n.pods, key)
	delete(c.pods, key)
	delete(c.keys, p.handle)
}

func (c *cluster) adopt(p store.PlacedPod) {
	n := c.nodes[p.Node]
	if _, known := c.pods[p.PodKey]; known {
		if n.pods[p.PodKey] {
			return
		}
		c.forget(c.nodes[c.byAt[c.fleet.NodeOf(c.pods[p.PodKey].handle)]], p.PodKey, c.fleet.Forget) // it was evicted and is elsewhere now
	}
	pod := c.pod(p.PodKey, p.Size, p.Labels, p.Scheduling)
	pod.Size.MemoryMiB += p.Overhead - n.room.VMMOverheadMiB // it is charged what the node needed when it was placed
	h := c.fleet.Adopt(n.at, &pod, float64(p.PlacedAt.UnixMilli())/1000)
	if c.booked(n, p.PodKey, h); p.Leaving {
		c.leave(p.PodKey)
	}
}

// leave notes that a pod is being stopped.
func (c *cluster) leave(key store.PodKey) {
	if p, known := c.pods[key]; known && !p.leaving {
		p.leaving = true
		c.pods[key] = p
		c.fleet.Leaving(p.handle)
	}
}

// booked remembers where a pod is.
func (c *cluster) booked(n *clusterNode, key store.PodKey, h scheduler.Handle) {
	n.pods[key], c.pods[key], c.keys[h] = true, placedPod{handle: h}, key
}

// nodeOf is the node that the fleet has at an index.
func (c *cluster) nodeOf(at int) *clusterNode { return c.nodes[c.byAt[at]] }

func hasRules(s husk.Scheduling) bool { return len(s.Rules) > 0 || s.Disruption != nil }

// pod describes a pod for the scheduler.
func (c *cluster) pod(key store.PodKey, size husk.Resources, labels map[string]string, s husk.Scheduling) scheduler.Pod {
	p := scheduler.Pod{
		ID: key.ID.String(), Size: scheduler.Resources(size), Priority: s.Priority, Selector: s.NodeSelector, Prefers: s.PreferredNodeSelector,
		Tolerates: s.Tolerations, Lifetime: float64(s.ExpectedLifetimeSeconds),
	}
	group := func(label, value string) string { return key.TenantID.String() + "/" + label + "=" + value }
	if c.ruled[key.TenantID] {
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
