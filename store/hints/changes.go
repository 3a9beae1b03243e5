// SPDX-License-Identifier: Apache-2.0

package hints

import (
	"strings"
	"sync"

	"github.com/google/uuid"
)

// maxIDs is how many ids are collected one by one. Beyond that, everything may have changed.
const maxIDs = 10_000

// Changes collects the ids of hinted topics that begin with the same prefix, until somebody takes them.
type Changes struct {
	hub    *Hub
	prefix string
	wake   chan struct{}

	mu  sync.Mutex
	ids map[uuid.UUID]bool
	all bool
}

// Collect begins to collect the ids of topics with this prefix. At first, everything may have changed. Call Close when done.
func (h *Hub) Collect(prefix string) *Changes {
	c := &Changes{hub: h, prefix: prefix, wake: make(chan struct{}, 1), ids: map[uuid.UUID]bool{}, all: true}
	wake(c.wake)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes[c] = struct{}{}
	return c
}

// Hints returns a channel that holds at most one pending hint.
func (c *Changes) Hints() <-chan struct{} { return c.wake }

// Take returns the ids that were hinted since the last call. If all is set, hints may have been lost, and everything may have changed.
func (c *Changes) Take() (ids []uuid.UUID, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.ids {
		ids = append(ids, id)
	}
	if all = c.all; all {
		ids = nil
	}
	c.ids, c.all = map[uuid.UUID]bool{}, false
	return ids, all
}

// Close ends the collection.
func (c *Changes) Close() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	delete(c.hub.changes, c)
}

func (c *Changes) add(topic string) {
	text, mine := strings.CutPrefix(topic, c.prefix)
	if !mine {
		return
	}
	id, err := uuid.Parse(text)
	c.mu.Lock()
	if c.all = c.all || err != nil || len(c.ids) >= maxIDs; !c.all {
		c.ids[id] = true
	}
	c.mu.Unlock()
	wake(c.wake)
}

func (c *Changes) addAll() {
	c.mu.Lock()
	c.all = true
	c.mu.Unlock()
	wake(c.wake)
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
