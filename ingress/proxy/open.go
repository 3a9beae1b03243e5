// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"
	"sync"
)

// open has the requests under way, by their services. When an address is taken from a service, the network no longer passes packets to its pods: the
// request would wait until a time limit, and an upgraded connection for a day.
type open struct {
	mu       sync.Mutex
	services map[netip.AddrPort]map[*request]struct{}
}

// request is one under way.
type request struct{ end context.CancelCauseFunc }

func newOpen() *open { return &open{services: map[netip.AddrPort]map[*request]struct{}{}} }

// enter notes a request to a service. Its context ends with errGone when the service is gone.
func (o *open) enter(ctx context.Context, service netip.AddrPort) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	r := &request{end}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.services[service] == nil {
		o.services[service] = map[*request]struct{}{}
	}
	o.services[service][r] = struct{}{}
	return ctx, func() {
		end(nil)
		o.mu.Lock()
		defer o.mu.Unlock()
		if delete(o.services[service], r); len(o.services[service]) == 0 {
			delete(o.services, service)
		}
	}
}

// endOthers ends the requests to all services but these.
func (o *open) endOthers(services map[netip.AddrPort]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for service, requests := range o.services {
		if services[service] {
			continue
		}
		for r := range requests {
			r.end(errGone)
		}
	}
}
