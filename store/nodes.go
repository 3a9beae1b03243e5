// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/nodelife"
	"husk/store/pgerr"
)

// Beat is what an agent reports with a heartbeat.
type Beat = nodelife.Beat

// Heartbeat renews a node's lease and records what the node reports about itself. resync is true if the agent must report every pod again:
// the node was not Ready, or an earlier such response was lost and pods are still marked as unknown. recovering is true if the node was fenced and is not
// Ready yet. Codes: not_found.
func (c Control) Heartbeat(ctx context.Context, n Beat) (resync, recovering bool, err error) {
	was, err := inControl(ctx, c, func(q *db.Queries) (db.HeartbeatRow, error) {
		was, err := nodelife.Heartbeat(ctx, q, n)
		return was, pgerr.NotFound(err, "node")
	})
	return was.State != husk.NodeReady || was.HasUnknownPods, was.Now != husk.NodeReady, err
}

// Node returns a node. Codes: not_found.
func (c Control) Node(ctx context.Context, id ID) (husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Node, error) {
		row, err := q.Node(ctx, id)
		return convert.WholeNode(row), pgerr.NotFound(err, "node")
	})
}

// Nodes returns every node, sorted by name.
func (c Control) Nodes(ctx context.Context) ([]husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.Node, error) {
		rows, err := q.Nodes(ctx)
		return convert.All(rows, func(r db.NodesRow) husk.Node { return convert.WholeNode(db.NodeRow(r)) }), err
	})
}

// AllPods lists pods of all tenants. With a node, it lists pods that are allocated on it; with a tenant, pods of that tenant. Codes: invalid.
func (c Control) AllPods(ctx context.Context, page Page, node, tenant *ID) ([]husk.PlacedPod, string, error) {
	return controlPage(ctx, c, page, func(q *db.Queries, after cursor.Position, limit int) ([]db.AllPodsRow, error) {
		return q.AllPods(ctx, db.AllPodsParams{AfterTime: after.At, AfterID: after.ID, NodeID: node, TenantID: tenant, Max: limit})
	}, convert.PlacedPod, func(p husk.PlacedPod) (time.Time, ID) { return p.CreatedAt, p.ID })
}

// DeleteNode deletes a node that has no pods, together with its certificates. Codes: not_found, conflict, precondition_failed.
func (c Control) DeleteNode(ctx context.Context, id ID) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		row, err := q.LockNode(ctx, id)
		if err != nil {
			return pgerr.NotFound(err, "node")
		}
		if err := ifMatch(ctx, convert.Node(row).NodeSettings); err != nil {
			return err
		}
		busy, err := q.NodeHasPods(ctx, id)
		if err != nil {
			return err
		}
		if busy {
			return husk.Errorf(husk.CodeConflict, "", "the node still has pods; delete them first")
		}
		if fenced := []husk.NodeState{husk.NodeFencing, husk.NodeFenced, husk.NodeRecovering}; slices.Contains(fenced, row.State) && !row.MachineOff {
			return husk.Errorf(husk.CodeConflict, "", "the node is %s, and its machines may still run; switch it off, and state it with machineIsOff before you delete it", row.State)
		}
		if _, err = q.DeleteNode(ctx, id); err != nil {
			return err
		}
		return audit(ctx, q, platform, "node", id.String())
	})
}

// NodeBeats returns what the leader judges the nodes by: their heartbeats.
func (c Control) NodeBeats(ctx context.Context) ([]husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.Node, error) {
		rows, err := q.NodeBeats(ctx)
		return convert.All(rows, func(r db.NodeBeatsRow) husk.Node {
			return husk.Node{ID: r.ID, Name: r.Name, State: r.State, HeartbeatAt: r.HeartbeatAt, FencedAt: r.FencedAt, MachineOff: r.MachineOff}
		}), err
	})
}

// SetNodeState changes the state of a node, if its latest heartbeat is still the one that the caller judged, and reports whether it did. It changes
// nothing if a heartbeat came meanwhile or another server leads. What follows for its pods needs transactions of its own: this one locks the
// node, and pods are always locked before nodes.
func (c Control) SetNodeState(ctx context.Context, epoch int64, node husk.Node, next husk.NodeState) (bool, error) {
	return asLeader(ctx, c, epoch, func(q *db.Queries) (bool, error) {
		n, err := q.SetNodeState(ctx, db.SetNodeStateParams{ID: node.ID, State: node.State, Next: next, HeartbeatAt: node.HeartbeatAt})
		if err != nil || n == 0 {
			return false, err
		}
		return true, hint(ctx, q, hints.Work)
	})
}

// MarkPodsUnknown records of pods of lost nodes that what is known of them may be old, at most limit of them, and returns how many.
func (c Control) MarkPodsUnknown(ctx context.Context, epoch int64, limit int) (int, error) {
	return asLeader(ctx, c, epoch, func(q *db.Queries) (int, error) { return nodelife.MarkUnknown(ctx, q, limit) })
}

// MovePods takes pods from a lost or fenced node, at most limit of them, and returns how many.
func (c Control) MovePods(ctx context.Context, epoch int64, node husk.Node, limit int) (int, error) {
	return asLeader(ctx, c, epoch, func(q *db.Queries) (int, error) {
		pods, err := nodelife.Move(ctx, q, node, limit)
		return len(pods), err
	})
}

// NodePlacements returns the placements on a node, and whether another node has the same storage address.
func (c Control) NodePlacements(ctx context.Context, node husk.Node) (placements []nodelife.Placement, shared bool, _ error) {
	placements, err := inControl(ctx, c, func(q *db.Queries) (_ []nodelife.Placement, err error) {
		if shared, err = q.StorageAddressShared(ctx, db.StorageAddressSharedParams{Address: node.StorageAddress, ID: node.ID}); err != nil {
			return nil, err
		}
		return nodelife.OfNode(ctx, q, node.ID)
	})
	return placements, shared, err
}

// UnseenPlacements returns placements whose Ceph clients are not recorded yet, at most limit of them.
func (c Control) UnseenPlacements(ctx context.Context, limit int) ([]nodelife.UnseenPlacement, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]nodelife.UnseenPlacement, error) { return nodelife.Unseen(ctx, q, limit) })
}

// NoteClients records the Ceph clients of a placement.
func (c Control) NoteClients(ctx context.Context, p nodelife.UnseenPlacement, clients []string) error {
	return controlDo(ctx, c, func(q *db.Queries) error { return p.Note(ctx, q, clients) })
}

// BeginFence records, before anything is put on the blocklist, what will be, and returns everything that is fenced for the node. From then on the node
// returns only after it was fenced.
func (c Control) BeginFence(ctx context.Context, epoch int64, node ID, addresses []string) (all []string, begun bool, _ error) {
	all, err := asLeader(ctx, c, epoch, func(q *db.Queries) ([]string, error) {
		all, err := q.BeginFence(ctx, db.BeginFenceParams{ID: node, Addresses: addresses, States: []string{string(husk.NodeLost), string(husk.NodeFencing), string(husk.NodeFenced)}})
		begun = err == nil && len(all) > 0
		return slices.Concat(all...), err
	})
	return all, begun, err
}

// FenceNode has the leader fence a node, as an operator requests. off: the operator has made sure that the node has no power. Codes: not_found.
func (c Control) FenceNode(ctx context.Context, id ID, addresses []string, off bool) (husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Node, error) {
		if _, err := q.LockNode(ctx, id); err != nil {
			return husk.Node{}, pgerr.NotFound(err, "node")
		}
		var states []string
		for from := range husk.NodeFence.Before() {
			states = append(states, string(from))
		}
		if _, err := q.BeginFence(ctx, db.BeginFenceParams{ID: id, Addresses: addresses, States: states}); err != nil {
			return husk.Node{}, err
		}
		if off {
			if _, err := q.SetMachineOff(ctx, id); err != nil {
				return husk.Node{}, err
			}
		}
		if err := audit(ctx, q, platform, "node", id.String()); err != nil {
			return husk.Node{}, err
		}
		row, err := q.LockNode(ctx, id)
		if err != nil {
			return husk.Node{}, err
		}
		return convert.Node(row), hint(ctx, q, hints.Work)
	})
}

// SetFenced records that the blocklist is in effect.
func (c Control) SetFenced(ctx context.Context, epoch int64, node ID) (bool, error) {
	return asLeader(ctx, c, epoch, func(q *db.Queries) (bool, error) {
		n, err := q.SetFenced(ctx, node)
		return n > 0, err
	})
}

// SetFenceMessage records why a node is not fenced, or why its pods are not moved.
func (c Control) SetFenceMessage(ctx context.Context, node ID, message string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		return q.SetFenceMessage(ctx, db.SetFenceMessageParams{ID: node, Message: message})
	})
}

// FencedNodes returns the nodes that are lost, are being fenced, are fenced, or recover.
func (c Control) FencedNodes(ctx context.Context) ([]husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.Node, error) {
		rows, err := q.FencedNodes(ctx)
		return convert.All(rows, convert.Node), err
	})
}

// SetNodeRecovered makes a node Ready that has removed what it is no longer allowed to run, and whose clients are off the blocklist.
func (c Control) SetNodeRecovered(ctx context.Context, epoch int64, node ID) (bool, error) {
	return asLeader(ctx, c, epoch, func(q *db.Queries) (bool, error) {
		n, err := q.SetNodeRecovered(ctx, node)
		if err != nil || n == 0 {
			return false, err
		}
		if err := q.ForgetFencedPlacements(ctx, node); err != nil {
			return false, err
		}
		return true, hint(ctx, q, hints.Work)
	})
}

// asLeader runs a transaction of the leader. It does nothing, and returns the zero value, if another server leads.
func asLeader[T any](ctx context.Context, c Control, epoch int64, f func(q *db.Queries) (T, error)) (T, error) {
	return inControl(ctx, c, func(q *db.Queries) (none T, _ error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return none, ignoreNoRows(err)
		}
		return f(q)
	})
}

func ignoreNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// Pools returns every pool, sorted by name.
func (c Control) Pools(ctx context.Context) ([]husk.Pool, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.Pool, error) {
		rows, err := q.Pools(ctx)
		return convert.All(rows, func(p db.PoolsRow) husk.Pool {
			return husk.Pool{Name: p.Name, CPUOvercommit: p.CpuOvercommit, Nodes: p.Nodes, CreatedAt: p.CreatedAt}
		}), err
	})
}

// PutPool creates a pool, or changes it and all of its nodes.
func (c Control) PutPool(ctx context.Context, name string, cpuOvercommit float64) (husk.Pool, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Pool, error) {
		if err := q.PutPool(ctx, db.PutPoolParams{Name: name, CpuOvercommit: cpuOvercommit}); err != nil {
			return husk.Pool{}, err
		}
		if err := q.OvercommitPool(ctx, db.OvercommitPoolParams{Name: name, CpuOvercommit: cpuOvercommit}); err != nil {
			return husk.Pool{}, err
		}
		if err := audit(ctx, q, platform, "pool", name); err != nil {
			return husk.Pool{}, err
		}
		p, err := q.Pool(ctx, name)
		if err != nil {
			return husk.Pool{}, err
		}
		return husk.Pool{Name: p.Name, CPUOvercommit: p.CpuOvercommit, Nodes: p.Nodes, CreatedAt: p.CreatedAt}, hint(ctx, q, hints.Work)
	})
}

// DeletePool deletes a pool that has no nodes. Codes: not_found, conflict.
func (c Control) DeletePool(ctx context.Context, name string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		n, err := q.DeletePool(ctx, name)
		switch {
		case pgerr.ForeignKeyViolation(err):
			return husk.Errorf(husk.CodeConflict, "", "pool %q still has nodes; move them to another first", name)
		case err != nil:
			return err
		case n == 0:
			return husk.Errorf(husk.CodeNotFound, "", "there is no such pool")
		}
		return audit(ctx, q, platform, "pool", name)
	})
}

// UpdateNode changes a node's settings. change gets the current settings and returns the new ones. Codes: not_found, invalid (pool),
// precondition_failed.
func (c Control) UpdateNode(ctx context.Context, id ID, change func(husk.NodeSettings) husk.NodeSettings) (husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Node, error) {
		row, err := q.LockNode(ctx, id)
		if err != nil {
			return husk.Node{}, pgerr.NotFound(err, "node")
		}
		was := convert.Node(row).NodeSettings
		if err := ifMatch(ctx, was); err != nil {
			return husk.Node{}, err
		}
		will := change(was)
		p := db.UpdateNodeParams{ID: id, Labels: will.Labels, Taints: will.Taints, Cordoned: will.Cordoned}
		if will.Pool != "" {
			p.Pool = &will.Pool
		}
		row, err = q.UpdateNode(ctx, p)
		if pgerr.ForeignKeyViolation(err) {
			return husk.Node{}, husk.Errorf(husk.CodeInvalid, "pool", "there is no pool %q; create it first", will.Pool)
		}
		if err != nil {
			return husk.Node{}, err
		}
		if err := audit(ctx, q, platform, "node", id.String()); err != nil {
			return husk.Node{}, err
		}
		return convert.Node(row), hint(ctx, q, hints.Work)
	})
}
