// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/convert"
	"husk/store/cursor"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pgerr"
)

// Heartbeat renews a node's lease and records what the node reports about itself. It returns true if the agent must report every pod again:
// the node was not Ready, or an earlier such response was lost and pods are still Unknown. Codes: not_found.
func (c Control) Heartbeat(ctx context.Context, n husk.Node) (resync bool, err error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) {
		was, err := q.Heartbeat(ctx, db.HeartbeatParams{
			ID: n.ID, CpuMillis: n.Capacity.CPUMillis, MemoryMib: n.Capacity.MemoryMiB, VmmOverheadMib: n.VMMOverheadMiB,
			Endpoint: n.Endpoint, Capabilities: append([]string{}, n.Capabilities...), ScratchGib: n.ScratchGiB,
		})
		if err != nil {
			return false, orNotFound(err, "node")
		}
		if was.State == husk.NodeReady {
			return was.HasUnknownPods, nil
		}
		return true, hint(ctx, q, hints.Work)
	})
}

// Node returns a node. Codes: not_found.
func (c Control) Node(ctx context.Context, id ID) (husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) (husk.Node, error) {
		row, err := q.Node(ctx, id)
		return convert.NodeWithScratch(row.Node, row.AllocatedScratchGib), orNotFound(err, "node")
	})
}

// Nodes returns every node, sorted by name.
func (c Control) Nodes(ctx context.Context) ([]husk.Node, error) {
	return inControl(ctx, c, func(q *db.Queries) ([]husk.Node, error) {
		rows, err := q.Nodes(ctx)
		return convert.All(rows, func(r db.NodesRow) husk.Node { return convert.NodeWithScratch(r.Node, r.AllocatedScratchGib) }), err
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
			return orNotFound(err, "node")
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
		if _, err = q.DeleteNode(ctx, id); err != nil {
			return err
		}
		return audit(ctx, q, platform, "node", id.String())
	})
}

// MarkLost marks a node as Lost, if its latest heartbeat is still the one that the caller judged, and reports whether it did. It changes
// nothing if a heartbeat came meanwhile or another server leads. MarkPodsUnknown follows, in transactions of its own: this one locks the
// node, and pods are always locked before nodes.
func (c Control) MarkLost(ctx context.Context, epoch int64, node husk.Node) (bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (bool, error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return false, ignoreNoRows(err)
		}
		n, err := q.SetNodeLost(ctx, db.SetNodeLostParams{ID: node.ID, HeartbeatAt: node.HeartbeatAt})
		return n > 0, err
	})
}

// MarkPodsUnknown marks pods of Lost nodes as Unknown, at most limit of them, and returns how many.
func (c Control) MarkPodsUnknown(ctx context.Context, epoch int64, limit int) (int, error) {
	return inControl(ctx, c, func(q *db.Queries) (int, error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return 0, ignoreNoRows(err)
		}
		pods, err := q.PodsOfLostNodes(ctx, limit)
		if err != nil {
			return 0, err
		}
		for _, p := range pods {
			next, ok := p.Phase.Next(husk.EventNodeLost)
			if !ok {
				continue
			}
			if err := q.UpdatePodStatus(ctx, db.UpdatePodStatusParams{
				TenantID: p.TenantID, ID: p.ID, Phase: next, Reason: "NodeLost", Message: "the node does not respond; the state of its pods is not known",
				ObservedGeneration: p.ObservedGeneration, Restarts: p.Restarts, Containers: p.Containers, DomainStartingAt: p.DomainStartingAt,
				DomainStartedAt: p.DomainStartedAt, GuestReadyAt: p.GuestReadyAt, RunningAt: p.RunningAt,
			}); err != nil {
				return 0, err
			}
			if err := record(ctx, q, p.TenantID, "pod", p.ID, string(next), "node lost"); err != nil {
				return 0, err
			}
		}
		return len(pods), nil
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
			return husk.Node{}, orNotFound(err, "node")
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
