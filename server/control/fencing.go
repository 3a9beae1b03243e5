// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/nodelife"
)

// fencing cuts lost nodes off from Ceph, moves their pods, and lets nodes return that have removed what they are no longer allowed to run.
//
// The order is the point. The addresses are in Postgres before the first entry is on the blocklist, so a leader that ends in between leaves a
// node that another one fences completely. The blocklist is in effect in every placement group before the node counts as Fenced (ceph.Fence), and
// only pods of a Fenced node get another placement. A node is off the blocklist only after it has reported that it runs no machine any more.
type fencing struct {
	store   store.Control
	ceph    *ceph.Cluster
	log     *slog.Logger
	metrics *metrics
	braked  func() bool
	renewed map[store.ID]time.Time // when the entries of each fenced node were last put on the blocklist
}

const (
	// fenceFor is how long an entry stays on the blocklist. The leader renews it for as long as the node is fenced.
	fenceFor = 24 * time.Hour
	// renewEvery is how often the leader puts the entries of fenced nodes on the blocklist again.
	renewEvery = 10 * time.Minute
	// moveBatch is how many pods one transaction moves. It locks their node.
	moveBatch = 100
)

// pass works on every node that is lost, being fenced, fenced or recovering.
func (s *fencing) pass(ctx context.Context, epoch int64) error {
	nodes, err := s.store.FencedNodes(ctx)
	if err != nil {
		return err
	}
	unfenced := 0
	var failures []error
	for _, n := range nodes { // pods without volumes need no fence, and do not wait for those of other nodes
		if (n.State == husk.NodeLost || n.State == husk.NodeFencing) && (!s.braked() || n.MachineOff) {
			failures = append(failures, s.move(ctx, epoch, n))
		}
	}
	for _, n := range nodes {
		if err := s.node(ctx, epoch, n); err != nil {
			unfenced++
			failures = append(failures, fmt.Errorf("node %s: %w", n.Name, err))
			message := "the node is not fenced, so its pods with volumes are not moved: " + err.Error()
			failures = append(failures, s.store.SetFenceMessage(ctx, n.ID, message))
		}
	}
	s.metrics.unfenced.Set(float64(unfenced))
	return errors.Join(failures...)
}

func (s *fencing) node(ctx context.Context, epoch int64, n husk.Node) error {
	switch n.State {
	case husk.NodeLost, husk.NodeFencing:
		if s.braked() && !n.MachineOff && n.State == husk.NodeLost {
			return s.store.SetFenceMessage(ctx, n.ID, "too many nodes are silent at once, so no pods are moved") // the loop nodes has logged it
		}
		if err := s.fence(ctx, epoch, n); err != nil {
			return err
		}
	case husk.NodeRecovering:
		if n.Clean {
			return s.release(ctx, epoch, n)
		}
	case husk.NodeFenced, husk.NodeJoining, husk.NodeReady, husk.NodeSuspect: // the query returns none of the last three
	}
	if err := s.move(ctx, epoch, n); err != nil {
		return err
	}
	if time.Since(s.renewed[n.ID]) > renewEvery && len(n.FenceAddresses) > 0 {
		return s.blocklist(ctx, n, n.FenceAddresses)
	}
	return nil
}

// blocklist puts a node's addresses on the blocklist, except this server's own: another server may have made the plan.
func (s *fencing) blocklist(ctx context.Context, n husk.Node, addresses []string) error {
	own, err := s.ceph.OwnAddress(ctx)
	if err != nil {
		return err
	}
	addresses = slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return a == wholeHost(own) })
	if err := s.ceph.Fence(ctx, addresses, fenceFor); err != nil {
		return err
	}
	s.renewed[n.ID] = time.Now()
	return nil
}

// fence puts the node's Ceph clients on the blocklist.
func (s *fencing) fence(ctx context.Context, epoch int64, n husk.Node) error {
	start := time.Now()
	plan, err := PlanFence(ctx, s.store, s.ceph, n)
	if err != nil && !n.MachineOff {
		return err
	}
	if plan.Unproven > 0 && !n.MachineOff {
		return fmt.Errorf("%d of its pods write volumes through Ceph clients that are not known; make sure that the node has no power, and confirm it with husk node fence --machine-is-off", plan.Unproven)
	}
	all, led, err := s.store.BeginFence(ctx, epoch, n.ID, plan.Addresses)
	if err != nil || !led {
		return err
	}
	if err := s.blocklist(ctx, n, all); err != nil {
		if !n.MachineOff {
			return fmt.Errorf("the blocklist of Ceph is not confirmed: %w", err)
		}
		s.log.Warn("the blocklist is not confirmed; an operator has confirmed that the node has no power", "node", n.Name, "error", err)
	}
	fenced, err := s.store.SetFenced(ctx, epoch, n.ID)
	if fenced {
		s.metrics.fences.Inc()
		s.log.Warn("node fenced", "node", n.ID, "name", n.Name, "addresses", all, "took", time.Since(start))
	}
	return err
}

// move takes the pods from a node that they can be taken from.
func (s *fencing) move(ctx context.Context, epoch int64, n husk.Node) error {
	for {
		moved, err := s.store.MovePods(ctx, epoch, n, moveBatch)
		if moved > 0 {
			s.metrics.moved.Add(float64(moved))
			s.log.Warn("pods of a lost node start elsewhere", "node", n.ID, "name", n.Name, "pods", moved)
		}
		if err != nil || moved < moveBatch {
			return err
		}
	}
}

// release takes a node from the blocklist that has removed its machines, and makes it Ready.
func (s *fencing) release(ctx context.Context, epoch int64, n husk.Node) error {
	delete(s.renewed, n.ID) // if the node does not become Ready below, it is fenced again
	// The entries of single clients stay until they expire. No process has their numbers again.
	hosts := slices.DeleteFunc(slices.Clone(n.FenceAddresses), func(a string) bool { return !strings.HasSuffix(a, ":0/0") })
	if err := s.ceph.Unfence(ctx, hosts); err != nil {
		return err
	}
	ready, err := s.store.SetNodeRecovered(ctx, epoch, n.ID)
	if ready {
		s.log.Info("a node has removed what it is no longer allowed to run; it is Ready", "node", n.ID, "name", n.Name)
	}
	return err
}

// Fence is what has to be on Ceph's blocklist so that nothing on a node writes a volume any more.
type Fence struct {
	Addresses []string
	Pods      int // on the node
	Unproven  int // pods that write volumes through clients that are not known
}

// PlanFence returns what has to be fenced for a node: every client that a machine's disks have shown, and the node's own storage address, which
// covers clients that nobody has seen. The node itself has reported that address. So it counts only if a client of the node has it, or if none is known, and
// never if it is also this server's or another node's. For a node without an address of its own, the disks have to show their clients now.
func PlanFence(ctx context.Context, db store.Control, cluster *ceph.Cluster, n husk.Node) (Fence, error) {
	placements, shared, err := db.NodePlacements(ctx, n)
	if err != nil {
		return Fence{}, err
	}
	own, err := cluster.OwnAddress(ctx)
	if err != nil {
		return Fence{}, err
	}
	fence := Fence{Pods: len(placements)}
	at, err := netip.ParseAddr(n.StorageAddress)
	alone := err == nil && !shared && at != own && usesHost(placements, at)
	for _, p := range placements {
		if len(p.Volumes) == 0 {
			continue
		}
		if alone {
			elsewhere := slices.DeleteFunc(slices.Clone(p.Clients), func(client string) bool { return onHost(client, at) })
			fence.Addresses = append(append(fence.Addresses, elsewhere...), wholeHost(at))
			continue
		}
		fence.Addresses = append(fence.Addresses, p.Clients...)
		// A pod can make its own disks unreadable. It does not hold up its neighbours, but needs an operator.
		clients, all, err := clientsOf(ctx, cluster, p)
		fence.Addresses = append(fence.Addresses, clients...)
		if err != nil || !all {
			fence.Unproven++
		}
	}
	slices.Sort(fence.Addresses)
	fence.Addresses = slices.Compact(fence.Addresses)
	return fence, nil
}

// usesHost reports whether a client of the placements is on this host. If no client is known, it may be.
func usesHost(placements []nodelife.Placement, at netip.Addr) bool {
	known := false
	for _, p := range placements {
		for _, client := range p.Clients {
			if known = true; onHost(client, at) {
				return true
			}
		}
	}
	return !known
}

// wholeHost returns the address of all clients of a host, as the blocklist expects it.
func wholeHost(at netip.Addr) string { return netip.AddrPortFrom(at, 0).String() + "/0" }

func onHost(client string, at netip.Addr) bool {
	return strings.HasPrefix(client, strings.TrimSuffix(wholeHost(at), "0"))
}

// clientsOf returns the clients that have a placement's volumes open, and whether every volume has one.
func clientsOf(ctx context.Context, cluster *ceph.Cluster, p nodelife.Placement) (clients []string, all bool, _ error) {
	all = true
	for _, volume := range p.Volumes {
		watchers, err := cluster.Watchers(ctx, volume)
		if err != nil {
			return nil, false, err
		}
		all = all && len(watchers) > 0
		for _, w := range watchers {
			clients = append(clients, w.Address)
		}
	}
	return clients, all, nil
}

// clients records which Ceph clients the machines are that write volumes, while their disks show it: a client that is suspended shows nothing.
type clients struct {
	store store.Control
	ceph  *ceph.Cluster
}

// clientsBatch is how many placements one pass looks at.
const clientsBatch = 100

func (s *clients) pass(ctx context.Context, _ int64) error {
	unseen, err := s.store.UnseenPlacements(ctx, clientsBatch)
	if err != nil {
		return err
	}
	var failures []error
	for _, p := range unseen {
		found, all, err := clientsOf(ctx, s.ceph, p.Placement)
		if err == nil && all { // otherwise its QEMU is still opening its disks
			err = s.store.NoteClients(ctx, p, found)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("ceph clients of pod %s: %w", p.PodID, err))
		}
	}
	return errors.Join(failures...)
}
