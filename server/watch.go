// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/ingress"
	"husk/openapi"
	"husk/server/held"
	"husk/server/request"
	"husk/server/watch"
	"husk/service"
	"husk/service/address"
	"husk/service/securitygroup"
	"husk/store"
)

// watches are the feeds of the kinds of objects that can be watched.
type watches struct {
	pods      *watch.Feeds[husk.Pod]
	volumes   *watch.Feeds[husk.Volume]
	snapshots *watch.Feeds[husk.Snapshot]
	networks  *watch.Feeds[husk.Network]
	services  *watch.Feeds[service.Service]
	ingresses *watch.Feeds[ingress.Ingress]
	addresses *watch.Feeds[address.Address]
	groups    *watch.Feeds[securitygroup.Group]
	images    *watch.Feeds[husk.Image]
	events    *watch.Feeds[husk.Event]
}

func newWatches(s *store.Store, log *slog.Logger, h *held.Held, registry prometheus.Registerer) watches {
	cfg := watch.NewConfig(s, log, h, registry)
	return watches{
		pods: watch.New(cfg, watch.Kind[husk.Pod]{
			Name: "pods", ID: func(p husk.Pod) uuid.UUID { return p.ID }, Hints: store.Tenant.Watch,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]husk.Pod, error) {
				return allPages(func(p store.Page) ([]husk.Pod, string, error) { return t.Pods(ctx, p, store.Filter{}) })
			},
			Wire: func(p husk.Pod, redacted bool) (any, error) {
				if redacted {
					p = redactedPod(p)
				}
				return openapi.Recast[openapi.Pod](p)
			},
		}),
		volumes: watch.New(cfg, watch.Kind[husk.Volume]{
			Name: "volumes", ID: func(v husk.Volume) uuid.UUID { return v.ID }, Hints: store.Tenant.Watch,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]husk.Volume, error) {
				return allPages(func(p store.Page) ([]husk.Volume, string, error) { return t.Volumes(ctx, p, store.Filter{}) })
			},
			Wire: func(v husk.Volume, _ bool) (any, error) { return openapi.Recast[openapi.Volume](v) },
		}),
		snapshots: watch.New(cfg, watch.Kind[husk.Snapshot]{
			Name: "snapshots", ID: func(s husk.Snapshot) uuid.UUID { return s.ID }, Hints: store.Tenant.Watch,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]husk.Snapshot, error) {
				return allPages(func(p store.Page) ([]husk.Snapshot, string, error) { return t.Snapshots(ctx, p, store.Filter{}) })
			},
			Wire: func(s husk.Snapshot, _ bool) (any, error) { return openapi.Recast[openapi.Snapshot](s) },
		}),
		networks: watch.New(cfg, watch.Kind[husk.Network]{
			Name: "networks", ID: func(n husk.Network) uuid.UUID { return n.ID }, Hints: store.Tenant.WatchNetwork,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]husk.Network, error) {
				return allPages(func(p store.Page) ([]husk.Network, string, error) { return t.Networks().List(ctx, p, nil, nil) })
			},
			Wire: func(n husk.Network, _ bool) (any, error) { return openapi.Recast[openapi.Network](n) },
		}),
		services: watch.New(cfg, watch.Kind[service.Service]{
			Name: "services", ID: func(s service.Service) uuid.UUID { return s.ID }, Hints: store.Tenant.WatchNetwork,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]service.Service, error) {
				return allPages(func(p store.Page) ([]service.Service, string, error) { return t.Services().List(ctx, p, nil, nil) })
			},
			Wire: func(s service.Service, _ bool) (any, error) { return openapi.Recast[openapi.Service](s) },
		}),
		addresses: watch.New(cfg, watch.Kind[address.Address]{
			Name: "addresses", ID: func(a address.Address) uuid.UUID { return a.ID }, Hints: store.Tenant.WatchNetwork,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]address.Address, error) {
				return allPages(func(p store.Page) ([]address.Address, string, error) { return t.Addresses().List(ctx, p, nil, nil) })
			},
			Wire: func(a address.Address, _ bool) (any, error) { return openapi.Recast[openapi.Address](a) },
		}),
		groups: watch.New(cfg, watch.Kind[securitygroup.Group]{
			Name: "security-groups", ID: func(g securitygroup.Group) uuid.UUID { return g.ID }, Hints: store.Tenant.WatchNetwork,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]securitygroup.Group, error) {
				return allPages(func(p store.Page) ([]securitygroup.Group, string, error) {
					return t.SecurityGroups().List(ctx, p, nil, nil)
				})
			},
			Wire: func(g securitygroup.Group, _ bool) (any, error) { return openapi.Recast[openapi.SecurityGroup](g) },
		}),
		ingresses: watch.New(cfg, watch.Kind[ingress.Ingress]{
			Name: "ingresses", ID: func(i ingress.Ingress) uuid.UUID { return i.ID }, Hints: store.Tenant.WatchIngresses,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]ingress.Ingress, error) {
				return allPages(func(p store.Page) ([]ingress.Ingress, string, error) { return t.Ingresses().List(ctx, p, nil, nil) })
			},
			Wire: func(i ingress.Ingress, _ bool) (any, error) { return openapi.Recast[openapi.Ingress](i) },
		}),
		images: watch.New(cfg, watch.Kind[husk.Image]{
			Name: "images", ID: func(i husk.Image) uuid.UUID { return i.ID }, Hints: store.Tenant.WatchImages,
			Read: func(ctx context.Context, t store.Tenant, _ time.Time) ([]husk.Image, error) {
				return allPages(func(p store.Page) ([]husk.Image, string, error) { return t.Images(ctx, p, nil) })
			},
			Wire: func(i husk.Image, _ bool) (any, error) { return openapi.Recast[openapi.Image](i) },
		}),
		events: watch.New(cfg, watch.Kind[husk.Event]{
			Name: "events", ID: func(e husk.Event) uuid.UUID { return e.ID }, Hints: store.Tenant.Watch, Settle: eventsSettle,
			At: func(e husk.Event) time.Time { return e.At },
			Read: func(ctx context.Context, t store.Tenant, since time.Time) ([]husk.Event, error) {
				return allPages(func(p store.Page) ([]husk.Event, string, error) {
					return t.Events(ctx, p, store.EventFilter{After: since})
				})
			},
			Wire: func(e husk.Event, _ bool) (any, error) { return openapi.Recast[openapi.Event](e) },
		}),
	}
}

// watching is the response to a request that watches a list.
type watching[T any] struct {
	ctx   context.Context //nolint:containedctx // the generated interface hands none on
	feeds *watch.Feeds[T]
	watch watch.Watch[T]
}

// VisitListPodsResponse streams until the reader leaves.
func (s watching[T]) VisitListPodsResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListVolumesResponse streams until the reader leaves.
func (s watching[T]) VisitListVolumesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListSnapshotsResponse streams until the reader leaves.
func (s watching[T]) VisitListSnapshotsResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListNetworksResponse streams until the reader leaves.
func (s watching[T]) VisitListNetworksResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListServicesResponse streams until the reader leaves.
func (s watching[T]) VisitListServicesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListAddressesResponse streams until the reader leaves.
func (s watching[T]) VisitListAddressesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListSecurityGroupsResponse streams until the reader leaves.
func (s watching[T]) VisitListSecurityGroupsResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListIngressesResponse streams until the reader leaves.
func (s watching[T]) VisitListIngressesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListImagesResponse streams until the reader leaves.
func (s watching[T]) VisitListImagesResponse(w http.ResponseWriter) error { return s.stream(w) }

// VisitListEventsResponse streams until the reader leaves.
func (s watching[T]) VisitListEventsResponse(w http.ResponseWriter) error { return s.stream(w) }

func (s watching[T]) stream(w http.ResponseWriter) error { return s.feeds.Stream(s.ctx, w, s.watch) }

// allPages reads a list to its end.
func allPages[T any](read func(store.Page) ([]T, string, error)) ([]T, error) {
	var all []T
	err := eachPage(read, func(page []T) error {
		all = append(all, page...)
		return nil
	})
	return all, err
}

// eachPage calls each for every page of a list.
func eachPage[T any](read func(store.Page) ([]T, string, error), each func([]T) error) error {
	page := store.Page{Limit: request.MaxLimit}
	for {
		items, next, err := read(page)
		if err != nil {
			return err
		}
		if err := each(items); err != nil || next == "" {
			return err
		}
		page.Cursor = next
	}
}
