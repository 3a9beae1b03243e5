// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"
	"time"

	"husk"
	"husk/store"
)

// checkedFor is how long a check of a caller is valid if nobody has lost access meanwhile. The check notices keys that expire.
const checkedFor = ReadEvery / 2

// callers checks that the readers of watches are still authorized, once for all watches of the same caller.
type callers struct {
	store *store.Store

	mu      sync.Mutex
	checked map[husk.Caller]*check
}

type check struct {
	mu     sync.Mutex
	users  int // guarded by callers
	at     time.Time
	access uint64 // the tenant's count of lost access at the time
	err    error
}

func newCallers(s *store.Store) *callers {
	return &callers{store: s, checked: map[husk.Caller]*check{}}
}

// enter counts a watch of this caller.
func (c *callers) enter(caller husk.Caller) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.checked[caller]
	if k == nil {
		k = &check{}
		c.checked[caller] = k
	}
	k.users++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(c.checked, caller)
		}
	}
}

// verify returns an error unless the caller is authorized. access is the tenant's count of lost access.
func (c *callers) verify(ctx context.Context, caller husk.Caller, access uint64) error {
	c.mu.Lock()
	k := c.checked[caller]
	c.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.access == access && time.Since(k.at) < checkedFor {
		return k.err
	}
	now := time.Now()
	err := c.store.Tenant(caller).CheckCaller(ctx)
	if ctx.Err() == nil { // otherwise the error is not about the caller
		k.at, k.access, k.err = now, access, err
	}
	return err
}
