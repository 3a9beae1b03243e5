package server

import (
	"context"

	"husk"
	"husk/openapi"
	"husk/scheduler"
)

// defaultMoves is how many restarts a defragmentation may cost whose request does not say.
const defaultMoves = 100

// UpdateNode changes what operators decide about a node.
func (a api) UpdateNode(ctx context.Context, r openapi.UpdateNodeRequestObject) (openapi.UpdateNodeResponseObject, error) {
	n, err := a.store.UpdateNode(ctx, r.NodeID, func(s husk.NodeSettings) husk.NodeSettings {
		if r.Body.Pool != nil {
			s.Pool = *r.Body.Pool
		}
		if r.Body.Labels != nil {
			s.Labels = labelsOf(r.Body.Labels)
		}
		if r.Body.Taints != nil {
			s.Taints = append([]string{}, *r.Body.Taints...)
		}
		if r.Body.Cordoned != nil {
			s.Cordoned = *r.Body.Cordoned
		}
		return s
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Node](n)
	return openapi.UpdateNode200JSONResponse{Body: body, Headers: openapi.UpdateNode200ResponseHeaders{ETag: tag(n.NodeSettings)}}, err
}

// AdminListPods lists what runs where.
func (a api) AdminListPods(ctx context.Context, r openapi.AdminListPodsRequestObject) (openapi.AdminListPodsResponseObject, error) {
	pods, next, err := a.store.AllPods(ctx, pageOf(r.Params.Limit, r.Params.Cursor), r.Params.NodeID, r.Params.TenantID)
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.PlacedPod](pods, next)
	return openapi.AdminListPods200JSONResponse{Items: items, NextCursor: cursor}, err
}

// ListPools lists pools by name.
func (a api) ListPools(ctx context.Context, _ openapi.ListPoolsRequestObject) (openapi.ListPoolsResponseObject, error) {
	pools, err := a.store.Pools(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := listed[openapi.Pool](pools, "")
	return openapi.ListPools200JSONResponse{Items: items}, err
}

// PutPool makes or changes a pool.
func (a api) PutPool(ctx context.Context, r openapi.PutPoolRequestObject) (openapi.PutPoolResponseObject, error) {
	pool, err := a.store.PutPool(ctx, r.Pool, float64(r.Body.CPUOvercommit))
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.PutPool200JSONResponse](pool)
}

// DeletePool removes a pool without nodes.
func (a api) DeletePool(ctx context.Context, r openapi.DeletePoolRequestObject) (openapi.DeletePoolResponseObject, error) {
	return openapi.DeletePool204Response{}, a.store.DeletePool(ctx, r.Pool)
}

// Defragment proposes which nodes to empty and, unless it is a dry run, empties them.
func (a api) Defragment(ctx context.Context, r openapi.DefragmentRequestObject) (openapi.DefragmentResponseObject, error) {
	moves := defaultMoves
	if r.Body.MaxMoves != nil {
		moves = *r.Body.MaxMoves
	}
	c := newCluster(a.store, a.log)
	if _, err := c.sync(ctx); err != nil {
		return nil, err
	}
	d := husk.Defragmentation{DryRun: r.Body.DryRun == nil || *r.Body.DryRun, Freed: []husk.FreedNode{}}
	may := func(at int) bool { return r.Body.Pool == nil || c.nodeOf(at).room.Pool == *r.Body.Pool }
	for _, f := range c.fleet.Defragment(moves, may) {
		d.Freed = append(d.Freed, c.freed(f))
		d.Moves += len(f.Moves)
		d.Gain.CPUMillis += f.Gain.CPUMillis
		d.Gain.MemoryMiB += f.Gain.MemoryMiB
	}
	d, err := a.store.Defragment(ctx, requestOf(ctx).idempotency(r.Params.IdempotencyKey), d)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.Defragment201JSONResponse](d)
}

func (c *cluster) freed(f scheduler.Freed) husk.FreedNode {
	n := c.nodeOf(f.Node)
	freed := husk.FreedNode{NodeID: n.room.ID, NodeName: n.room.Name, Gain: husk.Resources(f.Gain), Moves: []husk.FreedMove{}}
	freed.PerMove = husk.Resources{CPUMillis: f.Gain.CPUMillis / len(f.Moves), MemoryMiB: f.Gain.MemoryMiB / len(f.Moves)}
	for _, m := range f.Moves {
		key := c.keys[m.Pod]
		freed.Moves = append(freed.Moves, husk.FreedMove{PodID: key.ID, TenantID: key.TenantID, ToNodeName: c.nodeOf(m.To).room.Name, Resources: husk.Resources(m.Size)})
	}
	return freed
}
