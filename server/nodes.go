// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/server/control"
	"husk/server/request"
	"husk/store"
)

const defaultJoinTokenLife = time.Hour

// ListNodes lists all nodes, sorted by name.
func (a api) ListNodes(ctx context.Context, _ openapi.ListNodesRequestObject) (openapi.ListNodesResponseObject, error) {
	nodes, err := a.control.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.Node](nodes, "")
	return openapi.ListNodes200JSONResponse{Items: items}, err
}

// GetNode returns one node.
func (a api) GetNode(ctx context.Context, r openapi.GetNodeRequestObject) (openapi.GetNodeResponseObject, error) {
	n, err := a.control.Node(ctx, r.NodeID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Node](n)
	return openapi.GetNode200JSONResponse{Body: body, Headers: openapi.GetNode200ResponseHeaders{ETag: request.ETag(n.NodeSettings)}}, err
}

// DeleteNode deletes a node without pods.
func (a api) DeleteNode(ctx context.Context, r openapi.DeleteNodeRequestObject) (openapi.DeleteNodeResponseObject, error) {
	return openapi.DeleteNode204Response{}, a.control.DeleteNode(ctx, r.NodeID)
}

// GetFence shows what is cut off if a node is fenced.
func (a api) GetFence(ctx context.Context, r openapi.GetFenceRequestObject) (openapi.GetFenceResponseObject, error) {
	_, fence, err := a.fence(ctx, r.NodeID)
	return openapi.GetFence200JSONResponse(fence), err
}

// FenceNode has the leader fence a node.
func (a api) FenceNode(ctx context.Context, r openapi.FenceNodeRequestObject) (openapi.FenceNodeResponseObject, error) {
	off := openapi.Value(r.Body.MachineIsOff)
	node, fence, err := a.fence(ctx, r.NodeID)
	if err != nil && (!off || husk.CodeOf(err) == husk.CodeNotFound) { // a machine that is off needs no Ceph
		return nil, err
	}
	if at := node.HeartbeatAt; off && at != nil && time.Since(*at) < a.terms.Lease {
		return nil, husk.Errorf(husk.CodeConflict, "machineIsOff", "the node sent a heartbeat %s ago, so it has power", time.Since(*at).Round(time.Second))
	}
	if fence.Unproven > 0 && !off {
		return nil, husk.Errorf(husk.CodeConflict, "", "%d pods of the node write volumes through Ceph clients that are not known; make sure that the node has no power, and state it with machineIsOff", fence.Unproven)
	}
	if node, err = a.control.FenceNode(ctx, node.ID, fence.Addresses, off); err != nil {
		return nil, err
	}
	if node.State == husk.NodeJoining {
		return nil, husk.Errorf(husk.CodeConflict, "", "the node has not sent a heartbeat yet; it runs nothing that could be fenced")
	}
	fence.State = openapi.NodeState(node.State)
	return openapi.FenceNode200JSONResponse(fence), nil
}

func (a api) fence(ctx context.Context, id store.ID) (husk.Node, openapi.Fence, error) {
	node, err := a.control.Node(ctx, id)
	if err != nil {
		return node, openapi.Fence{}, err
	}
	plan, err := control.PlanFence(ctx, a.control, a.ceph, node)
	return node, openapi.Fence{
		State: openapi.NodeState(node.State), Addresses: append([]string{}, plan.Addresses...), Pods: plan.Pods, Unproven: plan.Unproven,
	}, err
}

// CreateJoinToken creates a token that allows one node to join, or to come back.
func (a api) CreateJoinToken(ctx context.Context, r openapi.CreateJoinTokenRequestObject) (openapi.CreateJoinTokenResponseObject, error) {
	life := defaultJoinTokenLife
	if r.Body.ExpiresInSeconds != nil {
		life = time.Duration(*r.Body.ExpiresInSeconds) * time.Second
	}
	token, err := a.control.CreateJoinToken(ctx, request.Of(ctx).Idempotency(r.Params.IdempotencyKey), life, r.Body.NodeID)
	if err != nil {
		return nil, err
	}
	joining := pki.NewJoinToken(token.Secret, a.auth.Root())
	return openapi.CreateJoinToken201JSONResponse{Token: joining, Command: new(a.join.with(joining)), ExpiresAt: token.ExpiresAt}, nil
}

// joinCommand is what the server knows about how a node's agent is started.
type joinCommand struct{ agentURL, southbound string }

// with returns the shell command that starts the agent with a join token. The token is no argument, because every user can read arguments.
func (c joinCommand) with(token string) string {
	if c.agentURL == "" {
		c.agentURL = "HUSK_SERVER"
	}
	if c.southbound == "" {
		c.southbound = "OVN_SOUTHBOUND"
	}
	return fmt.Sprintf(`HUSKD_JOIN_TOKEN=%s huskd agent --server %s --ovn-southbound %s --listen "$(hostname -I | cut -d' ' -f1):7443"`, token, c.agentURL, c.southbound)
}

// UpdateNode changes the settings of a node.
func (a api) UpdateNode(ctx context.Context, r openapi.UpdateNodeRequestObject) (openapi.UpdateNodeResponseObject, error) {
	n, err := a.control.UpdateNode(ctx, r.NodeID, func(s husk.NodeSettings) husk.NodeSettings {
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
	if r.Body.Cordoned != nil && !*r.Body.Cordoned { // a node that gets pods is not being drained
		if err := a.control.Moves().CancelDrain(ctx, r.NodeID); err != nil && husk.CodeOf(err) != husk.CodeNotFound {
			return nil, err
		}
	}
	body, err := openapi.Recast[openapi.Node](n)
	return openapi.UpdateNode200JSONResponse{Body: body, Headers: openapi.UpdateNode200ResponseHeaders{ETag: request.ETag(n.NodeSettings)}}, err
}

// AdminListPods lists the pods of all tenants with their nodes.
func (a api) AdminListPods(ctx context.Context, r openapi.AdminListPodsRequestObject) (openapi.AdminListPodsResponseObject, error) {
	pods, next, err := a.control.AllPods(ctx, request.Page(r.Params.Limit, r.Params.Cursor), r.Params.NodeID, r.Params.TenantID)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.PlacedPod](pods, next)
	return openapi.AdminListPods200JSONResponse{Items: items, NextCursor: cursor}, err
}
