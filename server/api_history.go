package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/store"
)

// eventsSettle is how long after its time an event may still appear: the transaction that wrote it had to end.
const eventsSettle = time.Minute

// ListEvents lists or watches what happened to objects.
func (a api) ListEvents(ctx context.Context, r openapi.ListEventsRequestObject) (openapi.ListEventsResponseObject, error) {
	tenant := tenantOf(ctx)
	filter := store.EventFilter{Kind: (*string)(r.Params.Kind), ObjectID: r.Params.ObjectID}
	if valueOf(r.Params.Watch) {
		since := time.Time{}
		return watch[husk.Event, openapi.Event]{server: a.Server, ctx: ctx, tenant: tenant, hints: a.store.WatchTenant, appendOnly: true, read: func(p store.Page) ([]husk.Event, string, error) {
			if p.Cursor == "" { // a new reading starts where the last one might have missed something
				filter.After, since = since, time.Now().Add(-eventsSettle)
			}
			return a.store.Events(ctx, tenant, p, filter)
		}, id: func(e husk.Event) store.ID { return e.ID }}, nil
	}
	events, next, err := a.store.Events(ctx, tenant, pageOf(r.Params.Limit, r.Params.Cursor), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Event](events, next)
	return openapi.ListEvents200JSONResponse{Items: items, NextCursor: cursor}, err
}

// ListAudit lists who changed what in the tenant.
func (a api) ListAudit(ctx context.Context, r openapi.ListAuditRequestObject) (openapi.ListAuditResponseObject, error) {
	entries, next, err := a.store.TenantAudit(ctx, tenantOf(ctx), pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.AuditEntry](entries, next)
	return openapi.ListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}

// AdminListAudit lists who changed what anywhere.
func (a api) AdminListAudit(ctx context.Context, r openapi.AdminListAuditRequestObject) (openapi.AdminListAuditResponseObject, error) {
	entries, next, err := a.store.Audit(ctx, pageOf(r.Params.Limit, r.Params.Cursor), r.Params.TenantID)
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.AuditEntry](entries, next)
	return openapi.AdminListAudit200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetQuota shows limits and use.
func (a api) GetQuota(ctx context.Context, _ openapi.GetQuotaRequestObject) (openapi.GetQuotaResponseObject, error) {
	use, err := a.store.Quota(ctx, tenantOf(ctx))
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetQuota200JSONResponse](use)
}
