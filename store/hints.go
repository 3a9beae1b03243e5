package store

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"husk/store/db"
)

// Topics that can be hinted at. A hint says "look again"; the truth is always re-read.
const (
	topicWork        = "work"         // something for the control loops
	topicSigningKeys = "signing-keys" // the keys that sign tokens have changed
)

func topicTenant(id ID) string { return "tenant:" + id.String() }

func topicImports(id ID) string { return "imports:" + id.String() } // how far they are, which none but watchers of images need to hear

func topicNode(id ID) string { return "node:" + id.String() }

// hub hands hints from one listening connection to everyone in this process who waits for the topic.
type hub struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]struct{}
}

func newHub() *hub { return &hub{waiting: map[string]map[chan struct{}]struct{}{}} }

// subscribe returns a channel that holds at most one pending hint, and a function that ends the subscription.
func (h *hub) subscribe(topics ...string) (<-chan struct{}, func()) {
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

func (h *hub) hint(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.waiting[topic] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// hintAll wakes everyone: after a lost connection nobody knows what was missed.
func (h *hub) hintAll() {
	h.mu.Lock()
	topics := make([]string, 0, len(h.waiting))
	for topic := range h.waiting {
		topics = append(topics, topic)
	}
	h.mu.Unlock()
	for _, topic := range topics {
		h.hint(topic)
	}
}

// Watch hints that something of the tenant may have changed. Call the function when done.
func (t Tenant) Watch() (<-chan struct{}, func()) { return t.hub.subscribe(topicTenant(t.id)) }

// WatchImages hints as Watch does, and when an import has made progress.
func (t Tenant) WatchImages() (<-chan struct{}, func()) {
	return t.hub.subscribe(topicTenant(t.id), topicImports(t.id))
}

// WatchNode hints that what the node should run may have changed.
func (c Control) WatchNode(node ID) (<-chan struct{}, func()) {
	return c.hub.subscribe(topicNode(node))
}

// WatchWork hints that there may be work for the control loops.
func (c Control) WatchWork() (<-chan struct{}, func()) { return c.hub.subscribe(topicWork) }

// WatchSigningKeys hints that the keys that sign tokens may have changed.
func (c Control) WatchSigningKeys() (<-chan struct{}, func()) {
	return c.hub.subscribe(topicSigningKeys)
}

// notifyTenant hints that something of the tenant changed. The payload stands in one place for this and for the SQL functions.
func notifyTenant(ctx context.Context, q *db.Queries, tenant ID) error {
	return q.Notify(ctx, topicTenant(tenant))
}

// notifyWork wakes the control loops, and the tenant's watchers with them.
func notifyWork(ctx context.Context, q *db.Queries, tenant ID) error {
	if err := q.Notify(ctx, topicWork); err != nil {
		return err
	}
	return notifyTenant(ctx, q, tenant)
}

// listen holds the one connection that hears hints, and makes a new one when it is lost.
func (s *core) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Log.Warn("lost the connection that hears hints from postgres; reconnecting", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *core) listenOnce(ctx context.Context) error {
	dsn, err := withRole(s.cfg.URL, RoleControl)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN husk"); err != nil {
		return err
	}
	s.hub.hintAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload == topicWork || n.Payload == topicSigningKeys || strings.Contains(n.Payload, ":") {
			s.hub.hint(n.Payload)
		}
	}
}
