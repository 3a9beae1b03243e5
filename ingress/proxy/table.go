// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"husk/store/edge"
)

// table is what the process serves. It does not change.
type table struct {
	hosts   map[string]edge.Host // their paths are in the order in which they apply: exact ones first, then by descending length
	targets map[target]bool
	read    time.Time
}

// newTable makes a table of hosts.
func newTable(hosts []edge.Host, now time.Time) *table {
	t := &table{hosts: make(map[string]edge.Host, len(hosts)), targets: map[target]bool{}, read: now}
	for _, h := range hosts {
		h.Paths = slices.Clone(h.Paths)
		for i := range h.Paths {
			p := &h.Paths[i]
			if !p.Exact {
				p.Path = strings.TrimSuffix(p.Path, "/")
			}
			if p.Service.IsValid() {
				t.targets[target{h.Name, p.Service}] = true
			}
		}
		slices.SortStableFunc(h.Paths, func(a, b edge.Path) int {
			switch {
			case a.Exact && !b.Exact:
				return -1
			case b.Exact && !a.Exact:
				return 1
			}
			return len(b.Path) - len(a.Path)
		})
		t.hosts[h.Name] = h
	}
	return t
}

// service returns where requests for a path go.
func service(h edge.Host, requested string) (at netip.AddrPort, found bool) {
	slash := strings.HasSuffix(requested, "/")
	requested = path.Clean("/" + requested)
	whole := requested
	if slash && whole != "/" {
		whole += "/"
	}
	for _, p := range h.Paths {
		if p.Exact {
			if whole == p.Path {
				return p.Service, true
			}
			continue
		}
		if rest, below := strings.CutPrefix(requested, p.Path); below && (rest == "" || rest[0] == '/') {
			return p.Service, true
		}
	}
	return netip.AddrPort{}, false
}

// hostOf returns the host that a request is for, without port, and in lower case.
func hostOf(r *http.Request) string {
	host := r.Host
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

const (
	// rereadEvery is how often the table is read without a hint.
	rereadEvery = 30 * time.Second
	// rereadPause is how long the process waits after it has read the table, so that tenants cannot keep it busy with that.
	rereadPause = 200 * time.Millisecond
)

// read reads the table.
func (p *process) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	hosts, err := p.Store.Hosts(ctx)
	if err != nil {
		return err
	}
	t := newTable(hosts, time.Now())
	p.table.Store(t)
	p.open.endOthers(t.targets)
	return nil
}

// follow reads the table again when something has changed, and now and then.
func (p *process) follow(ctx context.Context, changed <-chan struct{}) {
	again := time.NewTicker(rereadEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again.C:
		}
		if err := p.read(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("could not read the ingresses; serving the ones that were read before", "error", err, "read", p.table.Load().read)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rereadPause):
		}
	}
}
