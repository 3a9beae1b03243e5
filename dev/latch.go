// SPDX-License-Identifier: Apache-2.0

package dev

import "sync"

// latch keeps a child from being restarted. The zero value does not.
type latch struct {
	mu       sync.Mutex
	released chan struct{} // nil: not held
}

func (h *latch) set() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released == nil {
		h.released = make(chan struct{})
	}
}

func (h *latch) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released != nil {
		close(h.released)
		h.released = nil
	}
}

func (h *latch) on() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.released != nil
}

// await waits until the child is released. It returns false if the child should stop instead.
func (h *latch) await(stop <-chan struct{}) bool {
	h.mu.Lock()
	released := h.released
	h.mu.Unlock()
	if released == nil {
		return true
	}
	select {
	case <-released:
		return true
	case <-stop:
		return false
	}
}
