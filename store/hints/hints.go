// SPDX-License-Identifier: Apache-2.0

// Package hints passes on Postgres' notifications. A hint says "look again" and nothing else: the truth is always re-read, so a
// lost hint costs time only, and a needless one costs a query.
package hints

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Hub passes hints from one listening connection to all subscribers in this process.
type Hub struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]struct{}
	changes map[*Changes]struct{}
	calls   []call
}

// call is a function that wants the ids of topics with a prefix.
type call struct {
	prefix string
	do     func(id uuid.UUID, all bool)
}

// OnHint calls a function for each hint of a topic with this prefix and an id, for as long as the hub exists. It sets all if hints may have been
// missed. The function must not block, and must not use the hub.
func (h *Hub) OnHint(prefix string, do func(id uuid.UUID, all bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call{prefix, do})
}

// NewHub makes a hub without subscribers.
func NewHub() *Hub {
	return &Hub{waiting: map[string]map[chan struct{}]struct{}{}, changes: map[*Changes]struct{}{}}
}

// Subscribe returns a channel that holds at most one pending hint, and a function that ends the subscription.
func (h *Hub) Subscribe(topics ...string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range topics {
		if h.waiting[topic] == nil {
			h.waiting[topic] = map[chan struct{}]struct{}{}
		}
		h.waiting[topic][ch] = struct{}{}
	}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, topic := range topics {
			delete(h.waiting[topic], ch)
			if len(h.waiting[topic]) == 0 {
				delete(h.waiting, topic)
			}
		}
	}
}

func (h *Hub) hint(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.waiting[topic] {
		wake(ch)
	}
	for c := range h.changes {
		c.add(topic)
	}
	for _, c := range h.calls {
		if text, ok := strings.CutPrefix(topic, c.prefix); ok {
			id, err := uuid.Parse(text)
			c.do(id, err != nil)
		}
	}
}

// hintAll wakes all subscribers, because hints may have been missed while the connection was lost.
func (h *Hub) hintAll() {
	h.mu.Lock()
	topics := slices.Collect(maps.Keys(h.waiting))
	for c := range h.changes {
		c.addAll()
	}
	for _, c := range h.calls {
		c.do(uuid.Nil, true)
	}
	h.mu.Unlock()
	for _, topic := range topics {
		h.hint(topic)
	}
}

// Listen holds the one connection on which hints arrive, and makes a new one when it is lost. It returns when ctx ends.
func (h *Hub) Listen(ctx context.Context, dsn string, log *slog.Logger) {
	for ctx.Err() == nil {
		err := h.listenOnce(ctx, dsn)
		if ctx.Err() != nil {
			return
		}
		log.Warn("lost the connection on which hints arrive from postgres; reconnecting", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (h *Hub) listenOnce(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN husk"); err != nil {
		return err
	}
	h.hintAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		h.hint(n.Payload)
	}
}

// The topics of hints. A hint says "look again"; the truth is always re-read.
const (
	Work        = "work"         // something for the control loops
	SigningKeys = "signing-keys" // the keys that sign tokens have changed
)

// Tenant is the topic of a tenant's objects.
func Tenant(id uuid.UUID) string { return "tenant:" + id.String() }

// Imports is the topic of the progress of a tenant's imports, which only watchers of images need.
func Imports(id uuid.UUID) string { return "imports:" + id.String() }

// IngressPrefix begins the topics of all tenants' ingresses. Triggers write them (migrations/037_ingresses.sql).
const IngressPrefix = "ingress:"

// Ingress is the topic of a tenant's ingresses: they have changed, or their certificates.
func Ingress(id uuid.UUID) string { return IngressPrefix + id.String() }

// NetworkPrefix begins the topics of all tenants' networks. Triggers write them (migrations/031_services.sql).
const NetworkPrefix = "network:"

// Network is the topic of a tenant's network: services, and pods with their places, names, labels and readiness.
func Network(tenant uuid.UUID) string { return NetworkPrefix + tenant.String() }

// Node is the topic of a node's desired state.
func Node(id uuid.UUID) string { return "node:" + id.String() }
