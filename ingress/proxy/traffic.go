// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync"
	"time"

	"husk/ingress"
	"husk/store/edge"
)

const (
	// reportEvery is how often a process reports to Postgres what has passed.
	reportEvery = time.Second
	// keptEach is how many requests of one ingress a report has at most, and keptAll of all. The others are only counted.
	keptEach = 100
	keptAll  = 5000
)

// traffic is what has passed since the last report.
type traffic struct {
	mu    sync.Mutex
	all   map[edge.ID]*edge.Traffic
	kept  int
	total [5]int64 // since the start, by class
}

func newTraffic() *traffic { return &traffic{all: map[edge.ID]*edge.Traffic{}} }

func (t *traffic) add(id edge.ID, r ingress.Request, limited bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.all[id]
	if of == nil {
		of = &edge.Traffic{}
		t.all[id] = of
	}
	class := min(max(r.Status/100, 1), 5) - 1
	of.Requests[class]++
	t.total[class]++
	if limited {
		of.Limited++
	}
	of.ReceivedBytes += r.ReceivedBytes
	of.SentBytes += r.SentBytes
	if len(of.Latest) < keptEach && t.kept < keptAll {
		of.Latest = append(of.Latest, r)
		t.kept++
	}
}

// take returns what there is, and begins again.
func (t *traffic) take() map[edge.ID]*edge.Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all
	t.all, t.kept = map[edge.ID]*edge.Traffic{}, 0
	return all
}

// restore adds what could not be reported, without the requests themselves.
func (t *traffic) restore(all map[edge.ID]*edge.Traffic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, was := range all {
		of := t.all[id]
		if of == nil {
			of = &edge.Traffic{}
			t.all[id] = of
		}
		for i := range of.Requests {
			of.Requests[i] += was.Requests[i]
		}
		of.Limited += was.Limited
		of.ReceivedBytes += was.ReceivedBytes
		of.SentBytes += was.SentBytes
	}
}

// totals returns how many requests there were since the start, by the class of their status.
func (t *traffic) totals() [5]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// report reports until ctx ends.
func (p *process) report(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.flush(ctx)
			p.use.forget()
		}
	}
}

func (p *process) flush(ctx context.Context) {
	all := p.traffic.take()
	if len(all) == 0 {
		return
	}
	reporting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Store.Report(reporting, all); err != nil {
		p.traffic.restore(all)
		p.Log.Warn("could not report what has passed the ingresses; it is repeated, without the requests themselves", "error", err)
	}
}
