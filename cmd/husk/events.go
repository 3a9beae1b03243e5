package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

// eventView shows events; called says what the object is called.
func eventView(called func(openapi.Event) string) view[openapi.Event] {
	return view[openapi.Event]{
		kind: "event",
		name: func(e openapi.Event) string { return e.ID.String() },
		columns: []column[openapi.Event]{
			{"AGE", false, func(e openapi.Event) string { return age(e.At) }},
			{"OBJECT", false, called},
			{"REASON", false, func(e openapi.Event) string { return e.Reason }},
			{"MESSAGE", false, func(e openapi.Event) string { return value(e.Message) }},
			{"TIME", true, func(e openapi.Event) string { return e.At.Format(time.RFC3339) }},
			{"OBJECT-ID", true, func(e openapi.Event) string { return e.ObjectID.String() }},
		},
	}
}

// byID calls an object by its kind and id: what the API says of it.
func byID(e openapi.Event) string { return string(e.Kind) + "/" + e.ObjectID.String() }

var eventsResource = resource[openapi.Event]{
	view: eventView(byID), plural: "events", history: true,
	id:     func(e openapi.Event) string { return e.ID.String() },
	ifNone: "they come with the first pod, volume or image, and are kept for 14 days",
	list: func(ctx context.Context, c *openapi.Client, q query) ([]openapi.Event, error) {
		return listEvents(ctx, c, q.object)
	},
	watch: func(ctx context.Context, c *openapi.Client, q query) (*http.Response, error) {
		params, yes := *q.object, true
		params.Watch = &yes
		return c.ListEvents(ctx, &params)
	},
	newViews: func(ctx context.Context, c *openapi.Client) view[openapi.Event] {
		n := namer{ctx: ctx, client: c, known: map[uuid.UUID]string{}}
		return eventView(n.name)
	},
}

func listEvents(ctx context.Context, c *openapi.Client, params *openapi.ListEventsParams) ([]openapi.Event, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		page := *params
		page.Limit, page.Cursor = &pageSize, cursor
		return c.ListEvents(ctx, &page)
	}, func(l openapi.EventList) ([]openapi.Event, *string) { return l.Items, l.NextCursor })
}

func eventsCommand(a *app) *cobra.Command { return eventsList(a) }

func eventsList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "events [KIND/NAME]",
		Aliases:           []string{"event", "ev"},
		Short:             "List or watch what happened, to everything or to one object",
		Example:           "  husk events pod/web\n  husk events --watch",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeRefs("pod", "volume", "image"),
	}
	output := a.outputFlags(cmd, "table")
	kind := cmd.Flags().String("kind", "", "only what happened to objects of this kind, such as pod")
	watch := cmd.Flags().BoolP("watch", "w", false, "go on with what happens")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		q := query{object: &openapi.ListEventsParams{}}
		if *kind != "" {
			k := openapi.ObjectKind(*kind)
			q.object.Kind = &k
		}
		if len(args) == 1 {
			id, err := findRef(cmd.Context(), c, args[0], "pod")
			if err != nil {
				return err
			}
			q.object.ObjectID = &id
		}
		if *watch {
			return watchChanges(cmd.Context(), a, c, eventsResource, p, q, nil)
		}
		return eventsResource.print(cmd.Context(), a, c, p, q, nil)
	}
	return cmd
}

// namer finds what objects are called, which events do not say. One that is gone keeps its id.
type namer struct {
	ctx    context.Context //nolint:containedctx // the columns of a view are functions of the object alone
	client *openapi.Client
	once   sync.Once
	known  map[uuid.UUID]string
}

func (n *namer) name(e openapi.Event) string {
	n.once.Do(n.readAll)
	if name, ok := n.known[e.ObjectID]; ok {
		return name
	}
	name := byID(e)
	switch e.Kind { //nolint:exhaustive // the others have no names, or are not a tenant's
	case openapi.ObjectKindPod:
		if p, err := answer[openapi.Pod](n.client.GetPod(n.ctx, e.ObjectID)); err == nil {
			name = podView.ref(p)
		}
	case openapi.ObjectKindVolume:
		if v, err := answer[openapi.Volume](n.client.GetVolume(n.ctx, e.ObjectID)); err == nil {
			name = volumeView.ref(v)
		}
	case openapi.ObjectKindImage:
		if i, err := answer[openapi.Image](n.client.GetImage(n.ctx, e.ObjectID)); err == nil {
			name = imageView.ref(i)
		}
	}
	n.known[e.ObjectID] = name
	return name
}

// readAll learns the names of all that is there, so that only what is new or gone is asked for one by one.
func (n *namer) readAll() {
	if all, err := pods.list(n.ctx, n.client, query{}); err == nil {
		for _, p := range all {
			n.known[p.ID] = podView.ref(p)
		}
	}
	if all, err := volumes.list(n.ctx, n.client, query{}); err == nil {
		for _, v := range all {
			n.known[v.ID] = volumeView.ref(v)
		}
	}
	if all, err := images.list(n.ctx, n.client, query{}); err == nil {
		for _, i := range all {
			n.known[i.ID] = imageView.ref(i)
		}
	}
}
