// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"husk/ingress"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
)

// CreateIngress creates an ingress.
func (a api) CreateIngress(ctx context.Context, r openapi.CreateIngressRequestObject) (openapi.CreateIngressResponseObject, error) {
	i, err := a.tenant(ctx).Ingresses().Create(dryRun(ctx, r.Params.DryRun), request.Of(ctx).Idempotency(r.Params.IdempotencyKey), ingress.Ingress{
		Name: r.Body.Name, Labels: labelsOf(r.Body.Labels), Rules: rulesOf(r.Body.Rules), HSTSSeconds: openapi.Value(r.Body.HstsSeconds),
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Ingress](i)
	return openapi.CreateIngress201JSONResponse{Body: body, Headers: openapi.CreateIngress201ResponseHeaders{ETag: request.ETag(i)}}, err
}

func rulesOf(given openapi.IngressRules) []ingress.Rule {
	rules := make([]ingress.Rule, 0, len(given))
	for _, r := range given {
		rule := ingress.Rule{Host: r.Host}
		for _, p := range r.Paths {
			rule.Paths = append(rule.Paths, ingress.Path{Path: openapi.Value(p.Path), Exact: openapi.Value(p.Exact), Service: p.Service, Port: p.Port})
		}
		rules = append(rules, rule)
	}
	return rules
}

// ListIngresses lists or watches ingresses.
func (a api) ListIngresses(ctx context.Context, r openapi.ListIngressesRequestObject) (openapi.ListIngressesResponseObject, error) {
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[ingress.Ingress]{ctx, a.watches.ingresses, watch.Watch[ingress.Ingress]{Match: func(i ingress.Ingress) bool { return filter.Matches(i.Name, i.Labels) }}}, nil
	}
	found, next, err := a.tenant(ctx).Ingresses().List(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter.Name, filter.Labels)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Ingress](found, next)
	return openapi.ListIngresses200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetIngress returns one ingress.
func (a api) GetIngress(ctx context.Context, r openapi.GetIngressRequestObject) (openapi.GetIngressResponseObject, error) {
	i, err := a.tenant(ctx).Ingresses().Get(ctx, r.IngressID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Ingress](i)
	return openapi.GetIngress200JSONResponse{Body: body, Headers: openapi.GetIngress200ResponseHeaders{ETag: request.ETag(i)}}, err
}

// UpdateIngress changes labels, rules and HSTS.
func (a api) UpdateIngress(ctx context.Context, r openapi.UpdateIngressRequestObject) (openapi.UpdateIngressResponseObject, error) {
	i, err := a.tenant(ctx).Ingresses().Update(dryRun(ctx, r.Params.DryRun), r.IngressID, openapi.Value(r.Body.Labels), func(i ingress.Ingress) (ingress.Ingress, error) {
		if r.Body.Rules != nil {
			i.Rules = rulesOf(*r.Body.Rules)
		}
		if r.Body.HstsSeconds != nil {
			i.HSTSSeconds = *r.Body.HstsSeconds
		}
		return i, nil
	})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Ingress](i)
	return openapi.UpdateIngress200JSONResponse{Body: body, Headers: openapi.UpdateIngress200ResponseHeaders{ETag: request.ETag(i)}}, err
}

// DeleteIngress deletes an ingress.
func (a api) DeleteIngress(ctx context.Context, r openapi.DeleteIngressRequestObject) (openapi.DeleteIngressResponseObject, error) {
	return openapi.DeleteIngress204Response{}, a.tenant(ctx).Ingresses().Delete(ctx, r.IngressID)
}

// ListIngressRequests lists the latest requests to an ingress.
func (a api) ListIngressRequests(ctx context.Context, r openapi.ListIngressRequestsRequestObject) (openapi.ListIngressRequestsResponseObject, error) {
	limit := 100
	if r.Params.Limit != nil {
		limit = *r.Params.Limit
	}
	requests, err := a.tenant(ctx).Ingresses().Requests(ctx, r.IngressID, openapi.Value(r.Params.After), limit)
	if err != nil {
		return nil, err
	}
	items, _, err := request.Listed[openapi.IngressRequest](requests, "")
	return openapi.ListIngressRequests200JSONResponse{Items: items}, err
}
