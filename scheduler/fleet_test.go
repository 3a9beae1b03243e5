// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"husk/scheduler"
)

// anyRules adds random scheduling rules to a pod.
func anyRules(t *rapid.T, p *scheduler.Pod) {
	groups := []string{"web", "db"}
	for _, g := range groups {
		if rapid.IntRange(0, 2).Draw(t, g) == 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "tolerates") == 0 {
		p.Tolerates = []string{"gpu"}
	}
	if rapid.IntRange(0, 3).Draw(t, "selects") == 0 {
		p.Selector = map[string]string{"zone": rapid.SampledFrom([]string{"east", "west", "moon"}).Draw(t, "wanted")}
	}
	if rapid.IntRange(0, 3).Draw(t, "prefers") == 0 {
		p.Prefers = map[string]string{"zone": rapid.SampledFrom([]string{"east", "moon"}).Draw(t, "preferred")}
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 2}).Draw(t, "rules") {
		p.Rules = append(p.Rules, scheduler.Rule{
			Kind:  rapid.SampledFrom([]scheduler.RuleKind{scheduler.Apart, scheduler.Near, scheduler.Spread}).Draw(t, "kind"),
			Group: rapid.SampledFrom(groups).Draw(t, "of"), Over: rapid.SampledFrom([]string{"zone", "rack", scheduler.NodeLabel}).Draw(t, "over"),
			MaxSkew: rapid.IntRange(1, 2).Draw(t, "skew"),
		})
	}
}

func anyLabels(t *rapid.T, n *scheduler.Node) {
	n.Labels = map[string]string{}
	if zone := rapid.SampledFrom([]string{"", "east", "west"}).Draw(t, "zone"); zone != "" {
		n.Labels["zone"] = zone
		n.Labels["rack"] = zone + rapid.SampledFrom([]string{"1", "2"}).Draw(t, "rack")
	}
	if rapid.IntRange(0, 4).Draw(t, "tainted") == 0 {
		n.Taints = []string{"gpu"}
	}
}

// cluster is a fleet and an independent record of its pods.
type cluster struct {
	fleet   *scheduler.Fleet
	nodes   []scheduler.Node
	free    []scheduler.Resources
	ready   []bool
	gone    map[int]bool
	running map[scheduler.Handle]scheduler.Pod
	on      map[scheduler.Handle]int
}

func anyCluster(t *rapid.T) *cluster {
	nodes, _ := anySnapshot(t)
	for i := range nodes {
		anyLabels(t, &nodes[i])
	}
	c := &cluster{fleet: scheduler.NewFleet(nodes, scheduler.Default()), nodes: nodes, gone: map[int]bool{}, running: map[scheduler.Handle]scheduler.Pod{}, on: map[scheduler.Handle]int{}}
	for _, n := range nodes {
		c.ready = append(c.ready, n.Ready)
		c.free = append(c.free, scheduler.Resources{CPUMillis: n.Capacity.CPUMillis - n.Allocated.CPUMillis, MemoryMiB: n.Capacity.MemoryMiB - n.Allocated.MemoryMiB})
	}
	return c
}

// count returns how many pods of the group run on nodes whose label has this value.
func (c *cluster) count(group, label, value string) (n int) {
	for h, p := range c.running {
		if v, has := c.value(c.on[h], label); has && v == value && slices.Contains(p.Groups, group) {
			n++
		}
	}
	return n
}

func (c *cluster) total(group string) (n int) {
	for _, p := range c.running {
		if slices.Contains(p.Groups, group) {
			n++
		}
	}
	return n
}

func (c *cluster) value(node int, label string) (string, bool) {
	if label == scheduler.NodeLabel {
		return c.nodes[node].ID, !c.gone[node]
	}
	v, has := c.nodes[node].Labels[label]
	return v, has
}

// allowed reports whether a pod may run on a node, according to the documented rules.
func (c *cluster) allowed(p scheduler.Pod, node int) bool {
	over := c.nodes[node].Overhead
	if !c.ready[node] || p.Size.CPUMillis+over.CPUMillis > c.free[node].CPUMillis || p.Size.MemoryMiB+over.MemoryMiB > c.free[node].MemoryMiB {
		return false
	}
	for _, taint := range c.nodes[node].Taints {
		if !slices.Contains(p.Tolerates, taint) {
			return false
		}
	}
	for k, want := range p.Selector {
		if v, has := c.value(node, k); !has || v != want {
			return false
		}
	}
	for _, r := range p.Rules {
		if v, has := c.value(node, r.Over); !has || !c.keeps(r, v) {
			return false
		}
	}
	return !c.guarded(p, node)
}

// keeps reports whether a rule allows a node whose label has this value.
func (c *cluster) keeps(r scheduler.Rule, v string) bool {
	n := c.count(r.Group, r.Over, v)
	switch r.Kind {
	case scheduler.Apart:
		return n == 0
	case scheduler.Near:
		return n > 0 || c.total(r.Group) == 0
	default:
		least := 1 << 30
		for i := range c.nodes {
			if w, has := c.value(i, r.Over); has {
				least = min(least, c.count(r.Group, r.Over, w))
			}
		}
		return n+1-least <= r.MaxSkew
	}
}

// guarded reports whether the anti-affinity of a running pod excludes the node for this one.
func (c *cluster) guarded(p scheduler.Pod, node int) bool {
	for h, other := range c.running {
		for _, r := range other.Rules {
			theirs, have := c.value(c.on[h], r.Over)
			ours, has := c.value(node, r.Over)
			if r.Kind == scheduler.Apart && slices.Contains(p.Groups, r.Group) && have && has && theirs == ours {
				return true
			}
		}
	}
	return false
}

func (c *cluster) change(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0, 1, 2: // a pod ends
		if len(c.running) == 0 {
			return
		}
		handles := []scheduler.Handle{}
		for h := range c.running {
			handles = append(handles, h)
		}
		slices.Sort(handles)
		h := rapid.SampledFrom(handles).Draw(t, "goes")
		c.record(h, c.on[h], c.running[h], -1)
		delete(c.running, h)
		delete(c.on, h)
		c.fleet.Release(h)
	case 3: // a node is drained, or becomes ready again
		if len(c.nodes) == 0 {
			return
		}
		i := rapid.IntRange(0, len(c.nodes)-1).Draw(t, "node")
		if c.gone[i] {
			return
		}
		c.ready[i] = !c.ready[i]
		c.fleet.SetReady(i, c.ready[i])
	case 4: // a node gets other properties, or is removed; its pods have been forgotten, and return if it stays
		if len(c.nodes) == 0 {
			return
		}
		i := rapid.IntRange(0, len(c.nodes)-1).Draw(t, "node")
		c.replace(t, i, rapid.IntRange(0, 3).Draw(t, "removed") == 0)
	default: // a pod is created
		p := scheduler.Pod{ID: "p", Size: anySize(t, 40, "pod"), Lifetime: rapid.SampledFrom([]float64{0, 10, 1000}).Draw(t, "lifetime")}
		anyRules(t, &p)
		c.fleet.At(float64(len(c.running)))
		h, ok := c.fleet.Place(&p)
		fits := slices.ContainsFunc(c.indexes(), func(i int) bool { return c.allowed(p, i) })
		if ok != fits {
			t.Fatalf("the pod is placed: %v; some node fits: %v; pod: %+v", ok, fits, p)
		}
		if !ok {
			if r := c.fleet.Explain(&p); r.Message() == "" {
				t.Fatal("the refusal has no reason")
			}
			return
		}
		node := c.fleet.NodeOf(h)
		if !c.allowed(p, node) {
			t.Fatalf("%+v must not run on %+v, which has %+v free", p, c.nodes[node], c.free[node])
		}
		if !c.prefers(p, node) && slices.ContainsFunc(c.indexes(), func(i int) bool { return c.allowed(p, i) && c.prefers(p, i) }) {
			t.Fatalf("%+v is on %+v, but it also fits on a preferred node", p, c.nodes[node])
		}
		c.record(h, node, p, 1)
		c.running[h], c.on[h] = p, node
	}
}

func (c *cluster) replace(t *rapid.T, i int, remove bool) {
	pods := []scheduler.Pod{}
	for h, p := range c.running {
		if c.on[h] == i {
			pods = append(pods, p)
			c.fleet.Forget(h)
			delete(c.running, h)
			delete(c.on, h)
		}
	}
	if remove {
		if c.gone[i] {
			return
		}
		c.fleet.RemoveNode(i)
		c.gone[i], c.ready[i] = true, false
		c.nodes[i].Labels = nil
		c.free[i] = c.fleet.Free(i)
		return
	}
	if c.gone[i] {
		return
	}
	n := scheduler.Node{ID: c.nodes[i].ID, Ready: rapid.Bool().Draw(t, "ready"), Capacity: anySize(t, 100, "capacity")}
	anyLabels(t, &n)
	c.fleet.ChangeNode(i, n)
	c.nodes[i], c.ready[i], c.free[i] = n, n.Ready, n.Capacity
	for _, p := range pods {
		h := c.fleet.Adopt(i, &p, 0)
		c.record(h, i, p, 1)
		c.running[h], c.on[h] = p, i
	}
}

func (c *cluster) prefers(p scheduler.Pod, node int) bool {
	for k, want := range p.Prefers {
		if v, has := c.value(node, k); !has || v != want {
			return false
		}
	}
	return true
}

func (c *cluster) indexes() (all []int) {
	for i := range c.nodes {
		all = append(all, i)
	}
	return all
}

func (c *cluster) record(_ scheduler.Handle, node int, p scheduler.Pod, sign int) {
	c.free[node].CPUMillis -= sign * (p.Size.CPUMillis + c.nodes[node].Overhead.CPUMillis)
	c.free[node].MemoryMiB -= sign * (p.Size.MemoryMiB + c.nodes[node].Overhead.MemoryMiB)
}

// After any changes, a pod is placed if and only if a node fits by its capacity and all rules. So
// the incrementally updated index finds a node if a full scan does.
func TestAFleetPlacesAPodIfAFullScanFindsANode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCluster(t)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			c.change(t)
			for i := range c.nodes {
				if c.free[i] != c.fleet.Free(i) {
					t.Fatalf("%s has %+v free, but the fleet reports %+v", c.nodes[i].ID, c.free[i], c.fleet.Free(i))
				}
			}
		}
	})
}

func TestLaterChangesDoNotAffectASnapshot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCluster(t)
		for range rapid.IntRange(0, 30).Draw(t, "before") {
			c.change(t)
		}
		one, two := c.fleet.Clone(), c.fleet.Clone()
		for range rapid.IntRange(0, 30).Draw(t, "after") {
			c.change(t)
		}
		pods := make([]scheduler.Pod, 10)
		for i := range pods {
			pods[i] = scheduler.Pod{ID: fmt.Sprint(i), Size: anySize(t, 40, "pod")}
			anyRules(t, &pods[i])
		}
		if diff := cmp.Diff(one.PlaceBatch(pods), two.PlaceBatch(pods)); diff != "" {
			t.Fatalf("two snapshots of the same moment give different plans:\n%s", diff)
		}
	})
}

func TestAnAdditionalEmptyNodeMakesNoPodUnplaceable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, _ := anySnapshot(t)
		pod := []scheduler.Pod{{ID: "p", Size: anySize(t, 60, "pod")}}
		more := append(slices.Clone(nodes), scheduler.Node{ID: "more", Ready: true, Capacity: anySize(t, 100, "more")})
		if len(scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pod).Placements) > len(scheduler.Schedule(scheduler.Snapshot{Nodes: more}, pod).Placements) {
			t.Fatal("the pod fits without the additional node, but not with it")
		}
	})
}

func TestAFleetWithoutPodsIsLikeANewOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCluster(t)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			c.change(t)
		}
		for h := range c.running {
			c.fleet.Release(h)
		}
		fresh := slices.Clone(c.nodes)
		open := 0
		for i := range fresh {
			fresh[i].Ready = c.ready[i]
			if c.ready[i] && fresh[i].Allocated != (scheduler.Resources{}) {
				open++
			}
		}
		if c.fleet.Open() != open {
			t.Fatalf("%d nodes are open, want %d", c.fleet.Open(), open)
		}
		big := scheduler.Pod{ID: "big", Size: anySize(t, 100, "big")}
		_, was := c.fleet.Place(&big)
		_, is := scheduler.NewFleet(fresh, scheduler.Default()).Place(&big)
		if was != is {
			t.Fatalf("placed in the fleet without pods: %v, in a new fleet: %v", was, is)
		}
	})
}

func TestAGangIsPlacedCompletelyOrNotAtAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := anySnapshot(t)
		for i := range pods {
			pods[i].Gang = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "gang")
		}
		gang := map[string]string{}
		for _, p := range pods {
			gang[p.ID] = p.Gang
		}
		plan := scheduler.Schedule(scheduler.Snapshot{Nodes: nodes}, pods)
		placed := map[string]bool{}
		for _, p := range plan.Placements {
			placed[gang[p.PodID]] = true
		}
		for _, r := range plan.Refusals {
			if g := gang[r.PodID]; g != "" && placed[g] {
				t.Fatalf("%s of gang %s is refused, but another pod of it is placed", r.PodID, g)
			}
		}
		used := allocations(t, nodes, pods, plan)
		for _, n := range nodes {
			if u := used[n.ID]; u.CPUMillis > n.Capacity.CPUMillis || u.MemoryMiB > n.Capacity.MemoryMiB {
				t.Fatalf("node %s has capacity %+v, but %+v is allocated", n.ID, n.Capacity, u)
			}
		}
	})
}
