// SPDX-License-Identifier: Apache-2.0

package simulated

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"husk"
	"husk/limits"
	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/pki"
)

// The intervals of a real agent.
const (
	sampleEvery  = 10 * time.Second
	trafficCheck = 10 * time.Second
	retryEvery   = time.Second
	overheadMiB  = 128
	scratchGiB   = 10_000
)

// agent is the agent of one simulated node.
type agent struct {
	cfg    Config
	id     *identity
	client *agentclient.Client
	stop   func()
	log    *slog.Logger
	meter  *Meter
	pods   *pods

	sending atomic.Bool  // a report is under way
	applied atomic.Int64 // the revision of the desired state that the pods have
}

func newAgent(cfg Config, id *identity, meter *Meter) (*agent, error) {
	holder := &pki.NodeHolder{}
	holder.Replace(id.cert)
	client, stop, err := newClient(cfg.ServerURL, pki.AgentClient(id.root, holder))
	return &agent{cfg: cfg, id: id, client: client, stop: stop, log: cfg.Log.With("node", id.NodeID), meter: meter, pods: newPods(cfg.BootTime)}, err
}

// run works until ctx ends.
func (a *agent) run(ctx context.Context) error {
	defer a.stop()
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){a.heartbeat, a.follow, a.report, a.sample} {
		loops.Go(func() { loop(ctx) })
	}
	loops.Wait()
	return ctx.Err()
}

// measured does one request, and logs why it failed.
func (a *agent) measured(ctx context.Context, what string, do func() error) error {
	began := time.Now()
	err := do()
	if ctx.Err() == nil {
		a.meter.request(what, time.Since(began), err)
		if err != nil {
			a.log.Debug("request failed; retrying", "what", what, "error", err)
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// capabilities are those of an agent without machines, which has no memory to move.
var capabilities = slices.DeleteFunc(slices.Clone(husk.AgentCapabilities), func(c string) bool { return c == husk.CapabilityLiveMigration })

func (a *agent) heartbeat(ctx context.Context) {
	// The agents of a real fleet did not start at the same time.
	first, recovering := true, false
	for ctx.Err() == nil {
		interval := retryEvery
		beat := openapi.Heartbeat{
			Capacity: openapi.Capacity(a.cfg.Capacity), VmmOverheadMiB: overheadMiB, ScratchGiB: new(scratchGiB), Capabilities: &capabilities,
			Endpoint: "https://127.0.0.1:1", // nobody listens there
			// All simulated nodes share their address with the server. So they do not report it: fencing one of them must not cut off the server.
		}
		if recovering { // the node was fenced, and says whether its machines are gone
			beat.Revision, beat.Machines = new(a.applied.Load()), new(a.pods.machines())
		}
		_ = a.measured(ctx, Heartbeats, func() error {
			lease, _, err := decode[openapi.Lease](a.client.Heartbeat(ctx, beat))
			if err == nil {
				interval = time.Duration(lease.HeartbeatSeconds) * time.Second
				if recovering = openapi.Value(lease.Recovering); recovering {
					interval = retryEvery
				}
				if lease.Resync {
					a.pods.queue.Resync()
					a.pods.signal()
				}
			}
			return err
		})
		if first && interval > retryEvery {
			interval, first = rand.N(interval), false //nolint:gosec // jitter needs no secrecy
		}
		pause(ctx, interval)
	}
}

// follow keeps the desired state current.
func (a *agent) follow(ctx context.Context) {
	const none = int64(-1) // asks for the whole state
	known := none
	var current husk.DesiredState
	for ctx.Err() == nil {
		var state husk.DesiredState
		err := a.measured(ctx, Polls, func() (err error) {
			var bytes int
			if state, bytes, err = a.desired(ctx, known); err == nil {
				a.meter.desired(len(state.Pods)+len(state.RemovedPods), bytes)
			}
			return err
		})
		if err == nil && state.Since != nil && *state.Since != known { // changes of another state
			known = none
		}
		if err != nil || known == none && state.Since != nil {
			pause(ctx, retryEvery)
			continue
		}
		same := state.Since != nil && state.Revision == known
		current, known = current.With(state), state.Revision
		if !same {
			a.pods.apply(current)
			a.applied.Store(known)
		}
	}
}

// report sends what is due, in batches.
func (a *agent) report(ctx context.Context) {
	for ctx.Err() == nil {
		due := time.After(trafficCheck)
		if at, pending := a.pods.queue.Next(); pending {
			due = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
		case <-a.pods.wake:
		}
		now := time.Now()
		a.sending.Store(true)
		statuses := a.pods.queue.Take(now, false)
		runs := a.pods.takeRuns(now) // after the statuses, because an interval begins before the report that follows from it
		var err error
		if len(statuses) > 0 || len(runs) > 0 {
			err = a.measured(ctx, Reports, func() error { return a.send(ctx, statuses, runs, now) })
		}
		if err != nil {
			a.pods.queue.GiveBack(statuses)
			a.pods.giveBack(runs)
		}
		a.sending.Store(false)
		if err != nil {
			pause(ctx, retryEvery)
		}
	}
}

func (a *agent) send(ctx context.Context, statuses []husk.PodReport, runs []husk.MachineRun, now time.Time) error {
	pods, err := openapi.Recast[[]openapi.PodReport](statuses)
	if err != nil {
		return err
	}
	lives, err := openapi.Recast[[]openapi.MachineRun](runs)
	if err != nil {
		return err
	}
	body := openapi.StatusReport{Pods: append([]openapi.PodReport{}, pods...)} // the contract requires the list
	if len(lives) > 0 {
		body.Runs = &lives
	}
	result, _, err := decode[openapi.ReportResult](a.client.ReportStatus(ctx, &openapi.ReportStatusParams{PerItem: new(true)}, body))
	if err != nil {
		return err
	}
	for _, f := range result.Items {
		switch {
		case f.Retry && f.List == openapi.Pods && f.Index < len(statuses):
			a.pods.queue.Retry(statuses[f.Index], now)
		case f.Retry && f.List == openapi.Runs && f.Index < len(runs):
			a.pods.giveBack(runs[f.Index : f.Index+1])
		default:
			a.log.Error("the server refused an item of a report", "list", f.List, "code", f.Code, "error", f.Detail)
		}
	}
	return nil
}

// sample reports what the pods use.
func (a *agent) sample(ctx context.Context) {
	pause(ctx, rand.N(sampleEvery)) //nolint:gosec // jitter needs no secrecy
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		for batch := range slices.Chunk(a.pods.samples(time.Now()), limits.SampleItems) {
			_ = a.measured(ctx, Samples, func() error {
				pods, err := openapi.Recast[[]openapi.PodSample](batch)
				if err != nil {
					return err
				}
				_, _, err = decode[struct{}](a.client.ReportSamples(ctx, openapi.SampleReport{Pods: pods}))
				return err
			})
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
