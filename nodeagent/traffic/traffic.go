// SPDX-License-Identifier: Apache-2.0

// Package traffic reports what the rules of security groups have allowed and dropped on a node.
package traffic

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"husk"
	"husk/openapi"
	"husk/openapi/agentclient"
)

// Source counts and sees packets (package nodeagent/network).
type Source interface {
	Counts(ctx context.Context) ([]husk.SecurityCount, error)
	Drops(ctx context.Context, each func(husk.SecurityDrop)) error
}

// Report sends a report to the server.
type Report func(ctx context.Context, r openapi.SampleReport, editors ...agentclient.RequestEditorFn) (*http.Response, error)

const (
	every = 10 * time.Second
	// maxCounts and maxDrops are what one report contains at most. Of more drops, only the first are reported.
	maxCounts = 1000
	maxDrops  = 200
)

// Run reports until ctx ends. What cannot be reported is counted in the next report, and its packets are not shown.
func Run(ctx context.Context, source Source, report Report, log *slog.Logger) {
	r := reporter{source: source, report: report, sent: map[string]husk.SecurityCount{}}
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(ctx) })
	defer watching.Wait()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		err := r.pass(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("what security groups allow and drop is not reported; retrying", "error", err)
		}
		failing = err != nil
	}
}

type reporter struct {
	source Source
	report Report
	sent   map[string]husk.SecurityCount // by rule: what the server has

	mu    sync.Mutex
	drops []husk.SecurityDrop
}

// watch collects packets that were dropped.
func (r *reporter) watch(ctx context.Context) {
	for ctx.Err() == nil {
		_ = r.source.Drops(ctx, func(d husk.SecurityDrop) { // it ends when Open vSwitch does
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.drops) < maxDrops {
				r.drops = append(r.drops, d)
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

// pass reports what has changed since the last report.
func (r *reporter) pass(ctx context.Context) error {
	counts, err := r.source.Counts(ctx)
	if err != nil {
		return err
	}
	now := map[string]husk.SecurityCount{}
	var changed []husk.SecurityCount
	for _, c := range counts {
		key := c.Key()
		if now[key] = c; r.sent[key] != c {
			changed = append(changed, c)
		}
	}
	for key := range r.sent { // the node has no such pods any more
		if _, still := now[key]; !still {
			delete(r.sent, key)
		}
	}
	r.mu.Lock()
	drops := r.drops
	r.drops = nil
	r.mu.Unlock()
	if len(changed) == 0 && len(drops) == 0 {
		return nil
	}
	batches := slices.Collect(slices.Chunk(changed, maxCounts))
	if len(batches) == 0 {
		batches = append(batches, nil)
	}
	for _, batch := range batches {
		if err := r.send(ctx, batch, drops); err != nil {
			return err
		}
		drops = nil
		for _, c := range batch {
			r.sent[c.Key()] = c
		}
	}
	return nil
}

func (r *reporter) send(ctx context.Context, counts []husk.SecurityCount, drops []husk.SecurityDrop) error {
	body, err := openapi.Recast[openapi.SampleReport](husk.SampleReport{Pods: []husk.PodSample{}, SecurityCounts: counts, SecurityDrops: drops})
	if err != nil {
		return err
	}
	resp, err := r.report(ctx, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) //nolint:errcheck // the status says enough
		return fmt.Errorf("the server responds with %s: %s", resp.Status, text)
	}
	return nil
}
