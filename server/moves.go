// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/openapi"
	"husk/server/control"
	"husk/server/request"
	"husk/store/moves"
)

// GetDrain shows how far the drain of a node is.
func (a api) GetDrain(ctx context.Context, r openapi.GetDrainRequestObject) (openapi.GetDrainResponseObject, error) {
	d, err := a.control.Moves().Drain(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetDrain200JSONResponse](d)
}

// DrainNode cordons a node and has its pods moved.
func (a api) DrainNode(ctx context.Context, r openapi.DrainNodeRequestObject) (openapi.DrainNodeResponseObject, error) {
	limits := husk.DefaultDrainLimits
	if r.Body.MaxMoves != nil {
		limits.MaxMoves = *r.Body.MaxMoves
	}
	if r.Body.MaxMovesPerTenant != nil {
		limits.MaxMovesPerTenant = *r.Body.MaxMovesPerTenant
	}
	limits.Restart = openapi.Value(r.Body.Restart)
	d, err := a.control.Moves().PutDrain(ctx, r.NodeID, limits)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.DrainNode200JSONResponse](d)
}

// CancelDrain ends the drain of a node.
func (a api) CancelDrain(ctx context.Context, r openapi.CancelDrainRequestObject) (openapi.CancelDrainResponseObject, error) {
	return openapi.CancelDrain204Response{}, a.control.Moves().CancelDrain(ctx, r.NodeID)
}

// MovePod moves a pod to another node.
func (a api) MovePod(ctx context.Context, r openapi.MovePodRequestObject) (openapi.MovePodResponseObject, error) {
	m, err := control.MovePod(ctx, a.control, a.log, r.TenantID, r.PodID, r.Body.NodeID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.MovePod200JSONResponse](m)
}

func newDowntime(registry prometheus.Registerer) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "husk_move_downtime_seconds", Help: "How long machines were paused that moved to another node with their memory.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
	})
	registry.MustRegister(h)
	return h
}

// DecideMove ends a move whose memory moves, as the calling node requests. Afterwards, the node says how long the machine was paused.
func (a api) DecideMove(ctx context.Context, r openapi.DecideMoveRequestObject) (openapi.DecideMoveResponseObject, error) {
	node := request.Of(ctx).Caller.NodeID
	if r.Body.DowntimeMillis != nil {
		downtime := time.Duration(*r.Body.DowntimeMillis) * time.Millisecond
		ran, err := a.control.Moves().Ran(ctx, node, r.PodID, r.Body.Placement, downtime)
		if ran {
			a.downtime.Observe(downtime.Seconds())
			return openapi.DecideMove200JSONResponse{Outcome: openapi.Switched}, err
		}
		return openapi.DecideMove200JSONResponse{Outcome: openapi.Canceled}, err
	}
	why := openapi.Value(r.Body.Cancel)
	outcome, err := a.control.Moves().Decide(ctx, node, r.PodID, r.Body.Placement, why)
	if outcome == moves.Canceled && why != "" {
		a.log.Warn("a pod was not moved to another node", "pod", r.PodID, "node", node, "placement", r.Body.Placement, "reason", why)
	}
	return openapi.DecideMove200JSONResponse{Outcome: openapi.MoveOutcomeOutcome(outcome)}, err
}
