// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// Two ingresses lead to one service, and one of them is deleted.
func TestRequestsEndWithTheirHost(t *testing.T) {
	t.Parallel()
	service := netip.MustParseAddrPort("192.0.2.1:80")
	public, internal := target{"www.example.com", service}, target{"internal.example.com", service}
	o := newOpen()
	ends, leaveEnds := o.enter(t.Context(), public)
	stays, leaveStays := o.enter(t.Context(), internal)
	o.endOthers(map[target]bool{internal: true})
	if !errors.Is(context.Cause(ends), errGone) || stays.Err() != nil {
		t.Errorf("the requests have ended with %v and %v", context.Cause(ends), context.Cause(stays))
	}
	leaveEnds()
	leaveStays()
	if len(o.requests) != 0 {
		t.Errorf("after all requests have left, there are %v", o.requests)
	}
}
