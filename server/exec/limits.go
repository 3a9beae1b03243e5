// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"sync"
	"time"

	"husk"
	"husk/store"
)

// Limits of sessions. The agent and husk-init limit the sessions of one pod.
const (
	// maxTenantSessions is how many sessions a tenant can have open at one server.
	maxTenantSessions = 200
	// sessionIdle is how long a session may pass without a byte in either direction.
	sessionIdle = time.Hour

	// lastFrame is how long the server tries to send the client the reason for the end of its session.
	lastFrame = 2 * time.Second
	// lastRead is how long a client may take to read the end and close. After that the server closes.
	lastRead = time.Minute
)

// counts are the numbers of open sessions of each tenant at this server.
type counts struct {
	mu   sync.Mutex
	open map[store.ID]int
}

// enter counts a new session, or refuses it if there are too many. Codes: session_limit.
func (t *counts) enter(tenant store.ID) (leave func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[tenant] >= maxTenantSessions {
		return nil, husk.Errorf(husk.CodeSessionLimit, "", "the tenant has %d open sessions, which is the limit; close some first", maxTenantSessions)
	}
	t.open[tenant]++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.open[tenant]--; t.open[tenant] == 0 {
			delete(t.open, tenant)
		}
	}), nil
}
