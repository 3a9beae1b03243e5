// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// turns lets the calls that change a pod's domain run one after the other.
type turns struct {
	mu   sync.Mutex
	ends map[uuid.UUID]chan struct{} // closed when the call that runs has ended
}

// take waits for the pod's turn. The caller calls end when its call has really ended.
func (t *turns) take(ctx context.Context, pod uuid.UUID) (end func(), _ error) {
	for {
		t.mu.Lock()
		running, busy := t.ends[pod]
		if !busy {
			if t.ends == nil {
				t.ends = map[uuid.UUID]chan struct{}{}
			}
			mine := make(chan struct{})
			t.ends[pod] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.ends, pod)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// free waits until no call of the pod runs, and returns false if one still does after this time.
func (t *turns) free(ctx context.Context, pod uuid.UUID, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	end, err := t.take(ctx, pod)
	if err != nil {
		return false
	}
	end()
	return true
}

// Outstanding returns how many pods have a call that has not ended, among them those that nobody waits for any more. Such a call may still start
// a machine.
func (m *Manager) Outstanding() int {
	m.turns.mu.Lock()
	defer m.turns.mu.Unlock()
	return len(m.turns.ends)
}
