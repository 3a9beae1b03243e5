// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"testing"
	"time"

	"husk/store/edge"
)

func TestTheBestPathOfAHostCounts(t *testing.T) {
	t.Parallel()
	var paths []edge.Path
	for i, p := range []edge.Path{{Path: "/"}, {Path: "/api/"}, {Path: "/api/v1"}, {Path: "/api", Exact: true}, {Path: "/", Exact: true}, {Path: "/a/b/", Exact: true}} {
		p.Service = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)) //nolint:gosec // small
		paths = append(paths, p)
	}
	host := newTable([]edge.Host{{Name: "www.example.com", Paths: paths}}, time.Now()).hosts["www.example.com"]
	for requested, want := range map[string]uint16{
		"/": 4, "": 4, "//": 4, "/x": 0, "/apis": 0, "/api": 3, "/api/": 1, "/api/x": 1, "/api/v1": 2, "/api/v1/x": 2, "/api/../x": 0, "/api/x/..": 3, "/a/b": 0, "/a/b/": 5, "/a/b//": 5, "/a/b/c": 0,
	} {
		if at, found := service(host, requested); !found || at.Port() != want {
			t.Errorf("%q goes to the service %d, want %d", requested, at.Port(), want)
		}
	}
	if _, found := service(edge.Host{Paths: []edge.Path{{Path: "/only", Exact: true}}}, "/"); found {
		t.Error("a path that no rule has goes somewhere")
	}
}
