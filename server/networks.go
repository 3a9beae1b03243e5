// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/netip"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
)

// CreateNetwork creates a network.
func (a api) CreateNetwork(ctx context.Context, r openapi.CreateNetworkRequestObject) (openapi.CreateNetworkResponseObject, error) {
	n := husk.Network{Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), Isolated: openapi.Value(r.Body.Isolated)}
	var err error
	if n.CIDR, err = rangeOf("cidr", r.Body.Cidr); err != nil {
		return nil, err
	}
	if n.IPv6CIDR, err = rangeOf("ipv6Cidr", r.Body.Ipv6Cidr); err != nil {
		return nil, err
	}
	if err := n.Check(); err != nil {
		return nil, err
	}
	n, err = a.tenant(ctx).Networks().Create(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey), n)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Network](n)
	return openapi.CreateNetwork201JSONResponse{Body: body, Headers: openapi.CreateNetwork201ResponseHeaders{ETag: request.ETag(n)}}, err
}

func rangeOf(field string, text *string) (netip.Prefix, error) {
	if text == nil {
		return netip.Prefix{}, nil
	}
	r, err := netip.ParsePrefix(*text)
	if err != nil {
		return r, husk.Errorf(husk.CodeInvalid, field, "%q is no range of addresses: write an address and the length of the prefix, such as 10.1.0.0/24", *text)
	}
	return r, nil
}

// ListNetworks lists or watches networks.
func (a api) ListNetworks(ctx context.Context, r openapi.ListNetworksRequestObject) (openapi.ListNetworksResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[husk.Network]{ctx, a.watches.networks, watch.Watch[husk.Network]{Match: func(n husk.Network) bool { return filter.Matches(n.Name, n.Labels) }}}, nil
	}
	networks, next, err := a.tenant(ctx).Networks().List(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter.Name, filter.Labels)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Network](networks, next)
	return openapi.ListNetworks200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetNetwork returns one network.
func (a api) GetNetwork(ctx context.Context, r openapi.GetNetworkRequestObject) (openapi.GetNetworkResponseObject, error) {
	n, err := a.tenant(ctx).Networks().Get(ctx, r.NetworkID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Network](n)
	return openapi.GetNetwork200JSONResponse{Body: body, Headers: openapi.GetNetwork200ResponseHeaders{ETag: request.ETag(n)}}, err
}

// UpdateNetwork changes labels.
func (a api) UpdateNetwork(ctx context.Context, r openapi.UpdateNetworkRequestObject) (openapi.UpdateNetworkResponseObject, error) {
	n, err := a.tenant(ctx).Networks().Relabel(dryRun(ctx, r.Params.DryRun), r.NetworkID, openapi.Value(r.Body.Labels))
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Network](n)
	return openapi.UpdateNetwork200JSONResponse{Body: body, Headers: openapi.UpdateNetwork200ResponseHeaders{ETag: request.ETag(n)}}, err
}

// DeleteNetwork deletes a network without pods.
func (a api) DeleteNetwork(ctx context.Context, r openapi.DeleteNetworkRequestObject) (openapi.DeleteNetworkResponseObject, error) {
	return openapi.DeleteNetwork204Response{}, a.tenant(ctx).Networks().Delete(ctx, r.NetworkID)
}
