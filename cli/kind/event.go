// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// eventView shows events. object names the object of an event.
func eventView(object func(openapi.Event) string) print.View[openapi.Event] {
	return print.View[openapi.Event]{
		Kind: "event",
		Name: func(e openapi.Event) string { return e.ID.String() },
		Columns: []print.Column[openapi.Event]{
			print.Col("AGE", func(e openapi.Event) string { return print.Age(e.At) }),
			print.Col("OBJECT", object),
			print.Col("REASON", func(e openapi.Event) string { return e.Reason }),
			print.Col("MESSAGE", func(e openapi.Event) string { return openapi.Value(e.Message) }),
			print.WideCol("TIME", func(e openapi.Event) string { return e.At.Format(time.RFC3339) }),
			print.WideCol("OBJECT-ID", func(e openapi.Event) string { return e.ObjectID.String() }),
		},
	}
}

// byID names an object by its kind and ID. The API's events have no names.
func byID(e openapi.Event) string { return string(e.Kind) + "/" + e.ObjectID.String() }

// Events say what happened to objects.
var Events = Kind[openapi.Event]{
	View: eventView(byID), Plural: "events",
	ID:     func(e openapi.Event) string { return e.ID.String() },
	IfNone: "the first ones appear when you create a pod or a volume, or import an image; events are kept for 14 days",
	List: func(ctx context.Context, c *client.Client, q Query) iter.Seq2[openapi.Event, error] {
		return c.Events.List(ctx, q.Events)
	},
	Watch: func(ctx context.Context, c *client.Client, q Query, o client.WatchOptions) iter.Seq2[client.Change[openapi.Event], error] {
		return c.Events.Watch(ctx, q.Events, o)
	},
	NewViews: func(ctx context.Context, c *client.Client) print.View[openapi.Event] {
		n := namer{ctx: ctx, client: c, known: map[uuid.UUID]string{}}
		return eventView(n.name)
	},
}

// namer finds the names of objects, because events have only IDs. The event of a deleted object shows the ID.
type namer struct {
	ctx    context.Context //nolint:containedctx // the columns of a view are functions of the object alone
	client *client.Client
	once   sync.Once
	known  map[uuid.UUID]string
}

func (n *namer) name(e openapi.Event) string {
	n.once.Do(n.readAll)
	if name, ok := n.known[e.ObjectID]; ok {
		return name
	}
	name := byID(e)
	switch e.Kind { //nolint:exhaustive // the others have no names, or belong to no tenant
	case openapi.ObjectKindPod:
		if p, err := n.client.Pods.Get(n.ctx, e.ObjectID); err == nil {
			name = Pods.Ref(p)
		}
	case openapi.ObjectKindVolume:
		if v, err := n.client.Volumes.Get(n.ctx, e.ObjectID); err == nil {
			name = Volumes.Ref(v)
		}
	case openapi.ObjectKindImage:
		if i, err := n.client.Images.Get(n.ctx, e.ObjectID); err == nil {
			name = Images.Ref(i)
		}
	}
	n.known[e.ObjectID] = name
	return name
}

// readAll reads the names of all objects, so that only new and deleted ones need a request each.
func (n *namer) readAll() {
	if all, err := client.Collect(n.client.Pods.List(n.ctx, client.Select{})); err == nil {
		for _, p := range all {
			n.known[p.ID] = Pods.Ref(p)
		}
	}
	if all, err := client.Collect(n.client.Volumes.List(n.ctx, client.Select{})); err == nil {
		for _, v := range all {
			n.known[v.ID] = Volumes.Ref(v)
		}
	}
	if all, err := client.Collect(n.client.Images.List(n.ctx)); err == nil {
		for _, i := range all {
			n.known[i.ID] = Images.Ref(i)
		}
	}
}
