// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk/openapi"
	"husk/server/control"
	"husk/server/request"
)

// defaultMoves is how many restarts a defragmentation can cost if the request does not say.
const defaultMoves = 100

// ListPools lists all pools, sorted by name.
func (a api) ListPools(ctx context.Context, _ openapi.ListPoolsRequestObject) (openapi.ListPoolsResponseObject, error) {
	pools, err := a.control.Pools(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.Pool](pools, "")
	return openapi.ListPools200JSONResponse{Items: items}, err
}

// PutPool creates or changes a pool.
func (a api) PutPool(ctx context.Context, r openapi.PutPoolRequestObject) (openapi.PutPoolResponseObject, error) {
	pool, err := a.control.PutPool(ctx, r.Pool, float64(r.Body.CPUOvercommit))
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.PutPool200JSONResponse](pool)
}

// DeletePool deletes a pool without nodes.
func (a api) DeletePool(ctx context.Context, r openapi.DeletePoolRequestObject) (openapi.DeletePoolResponseObject, error) {
	return openapi.DeletePool204Response{}, a.control.DeletePool(ctx, r.Pool)
}

// ListUnknownObjects lists what is in Ceph and not in the database.
func (a api) ListUnknownObjects(ctx context.Context, _ openapi.ListUnknownObjectsRequestObject) (openapi.ListUnknownObjectsResponseObject, error) {
	all, err := a.control.Copies().Unknown(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.UnknownObject](all, "")
	return openapi.ListUnknownObjects200JSONResponse{Items: items}, err
}

// DeleteUnknownObject approves a removal.
func (a api) DeleteUnknownObject(ctx context.Context, r openapi.DeleteUnknownObjectRequestObject) (openapi.DeleteUnknownObjectResponseObject, error) {
	return openapi.DeleteUnknownObject204Response{}, a.control.Copies().ApproveRemoval(ctx, r.Object)
}

// Defragment proposes which nodes to drain and, unless it is a dry run, drains them.
func (a api) Defragment(ctx context.Context, r openapi.DefragmentRequestObject) (openapi.DefragmentResponseObject, error) {
	moves := defaultMoves
	if r.Body.MaxMoves != nil {
		moves = *r.Body.MaxMoves
	}
	dryRun := r.Body.DryRun == nil || *r.Body.DryRun
	d, err := control.Defragment(ctx, a.control, a.log, moves, r.Body.Pool, dryRun)
	if err != nil {
		return nil, err
	}
	d, err = a.control.Defragment(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), d)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.Defragment201JSONResponse](d)
}
