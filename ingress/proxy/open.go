// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"
	"sync"
)

// open has the requests under way. When an address is taken from a service, the network no longer passes packets to its pods: the request would wait
// until a time limit, and an upgraded connection for a day.
type open struct {
	mu       sync.Mutex
	requests map[target]map[*request]struct{}
}

// target is where a request goes: from a host to a service.
type target struct {
	host    string
	service netip.AddrPort
}

// request is one under way.
type request struct{ end context.CancelCauseFunc }

func newOpen() *open { return &open{requests: map[target]map[*request]struct{}{}} }

// enter notes a request. Its context ends with errGone when no path leads from the host to the service any longer.
func (o *open) enter(ctx context.Context, to target) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	r := &request{end}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.requests[to] == nil {
		o.requests[to] = map[*request]struct{}{}
	}
	o.requests[to][r] = struct{}{}
	return ctx, func() {
		end(nil)
		o.mu.Lock()
		defer o.mu.Unlock()
		if delete(o.requests[to], r); len(o.requests[to]) == 0 {
			delete(o.requests, to)
		}
	}
}

// endOthers ends the requests to all targets but these.
func (o *open) endOthers(targets map[target]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for to, requests := range o.requests {
		if targets[to] {
			continue
		}
		for r := range requests {
			r.end(errGone)
		}
	}
}
