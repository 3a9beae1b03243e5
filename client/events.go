// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/google/uuid"

	"husk/openapi"
)

// Events say what happened to pods, volumes and images. They are kept for 14 days.
type Events struct{ c *Client }

// EventSelect narrows events. Its zero value is all events.
type EventSelect struct {
	Kind   openapi.ObjectKind // only events of objects of this kind
	Object uuid.UUID          // only events of this object
}

func (s EventSelect) params() openapi.ListEventsParams {
	return openapi.ListEventsParams{Kind: given(s.Kind), ObjectID: given(s.Object)}
}

// List yields events, the oldest first.
func (e Events) List(ctx context.Context, which EventSelect) iter.Seq2[openapi.Event, error] {
	return pages[openapi.Event](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		params := which.params()
		params.Limit, params.Cursor = limit, cursor
		return e.c.api.ListEvents(ctx, &params)
	})
}

// Watch yields recent events and then new ones, until ctx ends. The labels of o are ignored.
func (e Events) Watch(ctx context.Context, which EventSelect, o WatchOptions) iter.Seq2[Change[openapi.Event], error] {
	w := watcher[openapi.Event]{kind: "event", history: true, id: func(e openapi.Event) string { return e.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		params := which.params()
		params.Watch = new(true)
		return e.c.api.ListEvents(ctx, &params)
	}}
	return w.changes(ctx, o)
}
