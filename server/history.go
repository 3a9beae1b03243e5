// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/server/watch"
	"husk/store"
)

// eventsSettle is how long after its timestamp an event may still appear, because its transaction had to end first.
const eventsSettle = time.Minute

// ListEvents lists or watches the events of objects.
func (a api) ListEvents(ctx context.Context, r openapi.ListEventsRequestObject) (openapi.ListEventsResponseObject, error) {
	tenant := a.tenant(ctx)
	filter := store.EventFilter{Kind: (*string)(r.Params.Kind), ObjectID: r.Params.ObjectID}
	if openapi.Value(r.Params.Watch) {
		begin := filter
		begin.After = a.watches.events.After(openapi.Value(r.Params.LastEventID))
		return watching[husk.Event]{ctx, a.watches.events, watch.Watch[husk.Event]{
			Match: filter.Matches,
			Before: func(each func([]husk.Event) error) error {
				return eachPage(func(p store.Page) ([]husk.Event, string, error) { return tenant.Events(ctx, p, begin) }, each)
			},
		}}, nil
	}
	events, next, err := tenant.Events(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Event](events, next)
	return openapi.ListEvents200JSONResponse{Items: items, NextCursor: cursor}, err
}

// ListAudit lists who changed what in the tenant.
func (a api) ListAudit(ctx context.Context, r openapi.ListAuditRequestObject) (openapi.ListAuditResponseObject, error) {
	entries, next, err := a.tenant(ctx).Audit(ctx, request.Page(r.Params.Limit, r.Params.Cursor),
		store.AuditFilter{From: r.Params.From, To: r.Params.To, Operation: openapi.Value(r.Params.Operation), Actor: openapi.Value(r.Params.Actor)})
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.AuditEntry](entries, next)
	return openapi.ListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}

// AdminListAudit lists who changed what anywhere.
func (a api) AdminListAudit(ctx context.Context, r openapi.AdminListAuditRequestObject) (openapi.AdminListAuditResponseObject, error) {
	entries, next, err := a.control.Audit(ctx, request.Page(r.Params.Limit, r.Params.Cursor), r.Params.TenantID,
		store.AuditFilter{From: r.Params.From, To: r.Params.To, Operation: openapi.Value(r.Params.Operation), Actor: openapi.Value(r.Params.Actor)})
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.AuditEntry](entries, next)
	return openapi.AdminListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}
