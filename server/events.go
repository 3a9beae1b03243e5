// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"husk"
	"husk/openapi"
	"husk/server/request"
	"husk/store"
)

// eventsSettle is how long after its timestamp an event may still appear, because its transaction had to end first.
const eventsSettle = time.Minute

// ListEvents lists or watches the events of objects.
func (a api) ListEvents(ctx context.Context, r openapi.ListEventsRequestObject) (openapi.ListEventsResponseObject, error) {
	tenant := a.tenant(ctx)
	filter := store.EventFilter{Kind: (*string)(r.Params.Kind), ObjectID: r.Params.ObjectID}
	if openapi.Value(r.Params.Watch) {
		since := time.Time{}
		return watch[husk.Event, openapi.Event]{api: a, ctx: ctx, hints: tenant.Watch, appendOnly: true, read: func(p store.Page) ([]husk.Event, string, error) {
			if p.Cursor == "" { // a new read starts where the last one may have missed events
				filter.After, since = since, time.Now().Add(-eventsSettle)
			}
			return tenant.Events(ctx, p, filter)
		}, id: func(e husk.Event) store.ID { return e.ID }}, nil
	}
	events, next, err := tenant.Events(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Event](events, next)
	return openapi.ListEvents200JSONResponse{Items: items, NextCursor: cursor}, err
}
