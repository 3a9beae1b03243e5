// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
)

// reporter reports the state of pods to the server: the latest state of each pod, in batches,
// retried until the server has accepted it.
type reporter struct {
	server *serverClient
	log    *slog.Logger
	runs   *usageLog
	wake   chan struct{}

	mu     sync.Mutex
	latest map[uuid.UUID]husk.PodReport
	dirty  map[uuid.UUID]bool
}

func newReporter(server *serverClient, runs *usageLog, log *slog.Logger) *reporter {
	return &reporter{
		server: server, runs: runs, log: log, wake: make(chan struct{}, 1), latest: map[uuid.UUID]husk.PodReport{}, dirty: map[uuid.UUID]bool{},
	}
}

func (r *reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// set records the current state of a pod.
func (r *reporter) set(report husk.PodReport) {
	if report.Containers == nil {
		report.Containers = []husk.ContainerStatus{}
	}
	r.mu.Lock()
	if known, ok := r.latest[report.PodID]; !ok || !reflect.DeepEqual(known, report) {
		r.latest[report.PodID] = report
		r.dirty[report.PodID] = true
	}
	r.mu.Unlock()
	r.signal()
}

// resync sends all reports again, because the server had marked the node as lost.
func (r *reporter) resync() {
	r.mu.Lock()
	for id := range r.latest {
		r.dirty[id] = true
	}
	r.mu.Unlock()
	r.signal()
}

// forget drops a pod that is no longer in the desired state.
func (r *reporter) forget(pod uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.latest, pod)
	delete(r.dirty, pod)
}

func (r *reporter) take() []husk.PodReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := make([]husk.PodReport, 0, len(r.dirty))
	for id := range r.dirty {
		batch = append(batch, r.latest[id])
	}
	clear(r.dirty)
	return batch
}

func (r *reporter) giveBack(batch []husk.PodReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range batch {
		if _, ok := r.latest[report.PodID]; ok {
			r.dirty[report.PodID] = true
		}
	}
}

// pending reports whether there is something that no server has accepted yet.
func (r *reporter) pending() bool {
	r.mu.Lock()
	dirty := len(r.dirty)
	r.mu.Unlock()
	return dirty > 0 || len(r.runs.unrecorded().runs) > 0
}

// send sends all that is pending. Usage intervals go with the pods' reports, so that a pod's last
// report never arrives before them.
func (r *reporter) send(ctx context.Context) error {
	batch := r.take()
	t := r.runs.unrecorded() // after the batch: the intervals that led to a report are stored before it
	if len(batch) == 0 && len(t.runs) == 0 {
		return nil
	}
	if err := r.server.report(ctx, batch, t.runs); err != nil {
		r.giveBack(batch)
		return err
	}
	return r.runs.recorded(t)
}

// lastReportWait is how long the last reports of a stopping agent may take.
const lastReportWait = 2 * time.Second

func (r *reporter) run(ctx context.Context) {
	var wait backoff
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReportWait)
			defer cancel()
			if err := r.send(last); err != nil {
				r.log.Warn("last report not accepted; the agent sends it after its next start", "error", err)
			}
			return
		case <-r.wake:
		}
		for r.pending() {
			if err := r.send(ctx); err != nil {
				if ctx.Err() != nil {
					break
				}
				r.log.Warn("report not accepted; retrying", "error", err)
				wait.sleep(ctx)
				continue
			}
			wait.reset()
		}
		if ctx.Err() != nil {
			r.signal()
		}
	}
}
