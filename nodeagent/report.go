// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"husk"
	"husk/nodeagent/reports"
	"husk/nodeagent/usagelog"
	"husk/openapi"
)

// reporter reports the state of pods to the server: the latest state of each pod, in batches,
// retried until the server has recorded it. It drops an item that the server refuses, which would
// otherwise hold up the reports about all other pods.
type reporter struct {
	server  *serverClient
	log     *slog.Logger
	runs    *usagelog.Log
	queue   *reports.Queue
	refused *prometheus.CounterVec // by list
	wake    chan struct{}

	// Only run uses these.
	runsAfter time.Time            // usage intervals are not sent alone before this time, because a server could not record some
	logged    map[uuid.UUID]string // why the last report of a pod was refused
}

func newReporter(server *serverClient, runs *usagelog.Log, log *slog.Logger) *reporter {
	return &reporter{
		server: server, runs: runs, log: log, queue: reports.NewQueue(), wake: make(chan struct{}, 1), logged: map[uuid.UUID]string{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "husk_agent_refused_report_items_total", Help: "Items of status reports that the server refused and the agent dropped: reports about pods, or usage intervals (runs).",
		}, []string{"list"}),
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
	r.queue.Set(report)
	r.signal()
}

// resync sends all reports again, because the server had marked the node as lost.
func (r *reporter) resync() {
	r.queue.Resync()
	r.signal()
}

// forget drops a pod that is no longer in the desired state.
func (r *reporter) forget(pod uuid.UUID) { r.queue.Forget(pod) }

// send sends what is due, or everything that is pending if all is true. Usage intervals go with the
// pods' reports, so that a pod's last report, which deletes its row, does not arrive before them.
func (r *reporter) send(ctx context.Context, all bool) error {
	now := time.Now()
	pods := r.queue.Take(now, all)
	runs := r.runs.Unrecorded() // read after the pods, because an interval is stored before the report that follows from it
	if !all && len(pods) == 0 && now.Before(r.runsAfter) {
		runs = usagelog.Batch{}
	}
	if len(pods) == 0 && len(runs.Runs) == 0 {
		return nil
	}
	failures, err := r.deliver(ctx, pods, runs.Runs)
	if err != nil {
		r.queue.GiveBack(pods)
		return err
	}
	retry := map[int]bool{}
	for _, f := range failures {
		switch {
		case f.List == openapi.Pods && f.Index < len(pods):
			if f.Retry {
				r.queue.Retry(pods[f.Index], now)
				retry[f.Index] = true
			} else {
				r.drop(pods[f.Index].PodID, f)
			}
		case f.List == openapi.Runs && f.Index < len(runs.Runs):
			if f.Retry {
				r.runsAfter = now.Add(backoffMax)
				runs.Keep(f.Index)
			} else {
				r.drop(runs.Runs[f.Index].PodID, f)
			}
		}
	}
	for i, report := range pods {
		if !retry[i] {
			r.queue.Recorded(report)
		}
	}
	return r.runs.Recorded(runs)
}

// drop counts an item that the server refused, and logs it unless it has logged the same already.
func (r *reporter) drop(pod uuid.UUID, f openapi.ReportFailure) {
	r.refused.WithLabelValues(string(f.List)).Inc()
	if why := string(f.List) + openapi.Value(f.Field) + f.Detail; r.logged[pod] != why {
		if len(r.logged) > maxLogged {
			clear(r.logged)
		}
		r.logged[pod] = why
		r.log.Error("the server refused an item of a report; dropped it", "pod", pod, "list", f.List, "code", f.Code, "field", openapi.Value(f.Field), "error", f.Detail)
	}
}

// maxLogged limits for how many pods the reporter remembers what it logged.
const maxLogged = 10_000

// deliver sends one batch and returns the items that were not recorded. A server of an earlier
// version refuses the whole batch because of one item. deliver then looks for the item by sending
// each half of the batch.
func (r *reporter) deliver(ctx context.Context, pods []husk.PodReport, runs []husk.MachineRun) ([]openapi.ReportFailure, error) {
	failures, err := r.server.report(ctx, pods, runs)
	refusal, ok := errors.AsType[*refusedError](err)
	if !ok || !refusal.ofContent() {
		return failures, err
	}
	switch {
	case len(runs) > 0 && len(pods) > 0: // the intervals first, as always
		failures, err = r.deliver(ctx, nil, runs)
		if err != nil {
			return nil, err
		}
		more, err := r.deliver(ctx, pods, nil)
		return append(failures, more...), err
	case len(runs) == 1:
		return []openapi.ReportFailure{refusal.failure(openapi.Runs)}, nil
	case len(pods) == 1:
		return []openapi.ReportFailure{refusal.failure(openapi.Pods)}, nil
	}
	half := (len(runs) + len(pods)) / 2
	failures, err = r.deliver(ctx, pods[:min(half, len(pods))], runs[:min(half, len(runs))])
	if err != nil {
		return nil, err
	}
	more, err := r.deliver(ctx, pods[min(half, len(pods)):], runs[min(half, len(runs)):])
	for i := range more {
		more[i].Index += half
	}
	return append(failures, more...), err
}

// ofContent reports whether the server will refuse the same request again.
func (e *refusedError) ofContent() bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, e.status)
}

// failure converts the refusal of a request with one item to the refusal of this item.
func (e *refusedError) failure(list openapi.ReportFailureList) openapi.ReportFailure {
	return openapi.ReportFailure{List: list, Code: string(husk.CodeInvalid), Detail: string(e.body)}
}

// lastReportWait is how long the last reports of a stopping agent may take.
const lastReportWait = 2 * time.Second

func (r *reporter) run(ctx context.Context) {
	var wait backoff
	for ctx.Err() == nil {
		if !r.await(ctx) {
			break
		}
		if err := r.send(ctx, false); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("report not accepted; retrying", "error", err)
				wait.sleep(ctx)
				r.signal()
			}
			continue
		}
		wait.reset()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReportWait)
	defer cancel()
	if err := r.send(last, true); err != nil {
		r.log.Warn("last report not accepted; the agent sends it after its next start", "error", err)
	}
}

// await waits until something is due. It returns false when ctx ends.
func (r *reporter) await(ctx context.Context) bool {
	for {
		at, pending := r.queue.Next()
		if r.runs.Pending() && (!pending || r.runsAfter.Before(at)) {
			at, pending = r.runsAfter, true
		}
		var due <-chan time.Time
		if pending {
			if !at.After(time.Now()) {
				return ctx.Err() == nil
			}
			due = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return false
		case <-due:
		case <-r.wake:
		}
	}
}
