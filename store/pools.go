package store

import (
	"context"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// Pools returns every pool, by name.
func (s *Store) Pools(ctx context.Context) ([]husk.Pool, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.Pool, error) {
		rows, err := q.Pools(ctx)
		return convertAll(rows, func(p db.PoolsRow) husk.Pool {
			return husk.Pool{Name: p.Name, CPUOvercommit: p.CpuOvercommit, Nodes: p.Nodes, CreatedAt: p.CreatedAt}
		}), err
	})
}

// PutPool makes a pool, or changes it with all of its nodes.
func (s *Store) PutPool(ctx context.Context, name string, cpuOvercommit float64) (husk.Pool, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Pool, error) {
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
		return husk.Pool{Name: p.Name, CPUOvercommit: p.CpuOvercommit, Nodes: p.Nodes, CreatedAt: p.CreatedAt}, q.Notify(ctx, topicWork)
	})
}

// DeletePool removes a pool that has no nodes. Codes: not_found, conflict.
func (s *Store) DeletePool(ctx context.Context, name string) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		n, err := q.DeletePool(ctx, name)
		switch {
		case foreignKeyViolation(err):
			return struct{}{}, husk.Errorf(husk.CodeConflict, "", "pool %q still has nodes; move them to another first", name)
		case err != nil:
			return struct{}{}, err
		case n == 0:
			return struct{}{}, husk.Errorf(husk.CodeNotFound, "", "there is no such pool")
		}
		return struct{}{}, audit(ctx, q, platform, "pool", name)
	})
	return err
}

// UpdateNode changes what operators decide about a node, by change, which is given what that is now. Codes: not_found, invalid (pool),
// precondition_failed.
func (s *Store) UpdateNode(ctx context.Context, id ID, change func(husk.NodeSettings) husk.NodeSettings) (husk.Node, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Node, error) {
		row, err := q.LockNode(ctx, id)
		if err != nil {
			return husk.Node{}, orNotFound(err, "node")
		}
		was := nodeOf(row).NodeSettings
		if err := ifMatch(ctx, was); err != nil {
			return husk.Node{}, err
		}
		will := change(was)
		p := db.UpdateNodeParams{ID: id, Labels: will.Labels, Taints: will.Taints, Cordoned: will.Cordoned}
		if will.Pool != "" {
			p.Pool = &will.Pool
		}
		row, err = q.UpdateNode(ctx, p)
		if foreignKeyViolation(err) {
			return husk.Node{}, husk.Errorf(husk.CodeInvalid, "pool", "there is no pool %q; make it first", will.Pool)
		}
		if err != nil {
			return husk.Node{}, err
		}
		if err := audit(ctx, q, platform, "node", id.String()); err != nil {
			return husk.Node{}, err
		}
		return nodeOf(row), q.Notify(ctx, topicWork)
	})
}

// Defragment keeps a proposal as the answer to a request. Unless it is a dry run it cordons the nodes and evicts their pods, all at once; a
// pod that is not there any more is left alone. Codes: idempotency_mismatch.
func (s *Store) Defragment(ctx context.Context, idem Idempotency, d husk.Defragmentation) (husk.Defragmentation, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Defragmentation, error) {
		if err := q.LockOperators(ctx); err != nil {
			return d, err
		}
		return creating(ctx, q, platform, idem, func() (ID, husk.Defragmentation, error) {
			id := uuid.New()
			if err := audit(ctx, q, platform, "defragmentation", id.String()); err != nil || d.DryRun {
				return id, d, err
			}
			var nodes []ID
			var pods []Eviction
			for _, n := range d.Freed {
				nodes = append(nodes, n.NodeID)
				for _, m := range n.Moves {
					pods = append(pods, Eviction{PodKey{m.TenantID, m.PodID}, n.NodeID})
				}
			}
			if err := q.CordonNodes(ctx, nodes); err != nil {
				return id, d, err
			}
			epoch, err := q.Epoch(ctx)
			if err != nil {
				return id, d, err
			}
			_, err = evict(ctx, q, pods, db.EvictPodsParams{Epoch: epoch, Reason: "Defragmented", Message: "its node is being emptied; it starts on another"})
			return id, d, err
		})
	})
}
