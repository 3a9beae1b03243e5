// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/file"
	"husk/nodeagent/lease"
	"husk/nodeagent/process"
	"husk/openapi"
	"husk/route"
)

// wholeEvery is how often the agent gets the whole desired state, in order to compare it with the sum of the changes.
const wholeEvery = time.Hour

// desiredState is a desired state, and when it was requested, on the clock of the lease.
type desiredState struct {
	husk.DesiredState
	sent time.Duration
}

// follow keeps the desired state current. It gets the whole state at every start and every hour, and changes in between. It refuses a revision
// older than one that was accepted before, also across restarts: a replayed stale desired state must not restart a stopped pod.
func (a *Agent) follow(ctx context.Context, out chan desiredState) {
	const none = int64(-1) // asks for the whole state
	known := none
	var current husk.DesiredState
	var wholeAt time.Time
	seen, err := a.loadSeen()
	if err != nil {
		a.log.Error("cannot read the last revision; accepting any revision", "error", err)
	}
	var wait backoff
	for ctx.Err() == nil {
		if time.Since(wholeAt) > wholeEvery {
			known = none
		}
		sent := lease.Now()
		state, regained, err := a.poll(ctx, known, seen.Incarnation)
		if err != nil {
			if ctx.Err() == nil && !regained {
				a.log.Warn("cannot get the desired state; retrying", "error", err)
				wait.sleep(ctx)
			}
			continue
		}
		if state.OlderThan(seen.Incarnation, seen.Revision) {
			a.log.Error("refused a stale desired state", "revision", state.Revision, "incarnation", state.Incarnation, "known", seen)
			wait.sleep(ctx)
			continue
		}
		if state.Since != nil && *state.Since != known {
			a.log.Error("refused changes of another desired state; getting the whole state", "since", *state.Since, "known", known)
			known = none
			wait.sleep(ctx)
			continue
		}
		wait.reset()
		if state.Since == nil {
			a.compare(current, state, !wholeAt.IsZero())
			wholeAt = time.Now()
		}
		if state.Incarnation.NewerThan(seen.Incarnation) {
			a.log.Warn("the servers' database was restored, or its standby was promoted; the node runs what the database says", "was", seen, "is", state.Incarnation)
		}
		if now := (seenState{state.Revision, state.Incarnation}); now != seen {
			seen = now
			if err := seen.store(a.cfg.StateDir); err != nil {
				a.log.Error("cannot store the revision", "error", err)
			}
		}
		current, known = current.With(state), state.Revision
		select { // only the newest one matters
		case <-out:
		default:
		}
		out <- desiredState{current, sent}
	}
}

// poll gets the desired state. If the node gets its lease back meanwhile, it returns regained, so that the next request asks what has changed since.
func (a *Agent) poll(ctx context.Context, known int64, incarnation husk.Incarnation) (_ husk.DesiredState, regained bool, _ error) {
	again := a.lease.Regained()
	wait := pollWait
	if a.lease.Left() > 0 && !a.lease.MayWrite() {
		wait = 0
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-ctx.Done():
		case <-again:
			cancel()
		}
	})
	state, err := a.server.desired(ctx, known, incarnation, wait)
	cancel()
	watching.Wait()
	select {
	case <-again:
		regained = true
	default:
	}
	return state, regained, err
}

// compare checks that the sum of the changes is the whole state. If it is not, the whole state replaces it.
func (a *Agent) compare(sum, whole husk.DesiredState, known bool) {
	if !known || sum.Revision != whole.Revision || sum.Incarnation != whole.Incarnation {
		return // there is nothing to compare
	}
	byID := func(s husk.DesiredState) map[uuid.UUID]husk.DesiredPod {
		pods := make(map[uuid.UUID]husk.DesiredPod, len(s.Pods))
		for _, p := range s.Pods {
			pods[p.ID] = p
		}
		return pods
	}
	if was, is := byID(sum), byID(whole); !reflect.DeepEqual(was, is) {
		a.metrics.desiredErrors.Inc()
		a.log.Error("the sum of the changes was not the desired state; using the whole state", "revision", whole.Revision, "pods", len(is), "pods_by_changes", len(was))
	}
}

// seenState is the newest desired state that the agent has accepted. It refuses older ones.
type seenState struct {
	Revision    int64            `json:"revision"`
	Incarnation husk.Incarnation `json:"incarnation"`
}

func seenFile(stateDir string) string { return filepath.Join(stateDir, "revision") }

func (s seenState) store(stateDir string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return file.Write(seenFile(stateDir), raw)
}

func (a *Agent) loadSeen() (seenState, error) {
	s := seenState{Revision: -1}
	raw, err := os.ReadFile(seenFile(a.cfg.StateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && json.Unmarshal(raw, &s.Revision) != nil { // agents of the previous version write a number
		err = json.Unmarshal(raw, &s)
	}
	return s, err
}

// heartbeat renews the lease until ctx ends.
func (a *Agent) heartbeat(ctx context.Context) {
	var interval time.Duration
	var last openapi.Lease
	for {
		beat := openapi.Heartbeat{
			Capacity: openapi.Capacity(a.cfg.Capacity), VmmOverheadMiB: a.cfg.OverheadMiB + a.cfg.ShareMiB, ScratchGiB: &a.cfg.ScratchGiB,
			Endpoint: "https://" + a.cfg.Listen, Capabilities: &a.capabilities, StorageAddress: storageAddress(ctx, last),
		}
		if openapi.Value(last.Recovering) {
			beat.Revision, beat.Machines = a.countMachines(ctx)
		}
		sent := lease.Now()
		got, err := a.server.heartbeat(ctx, beat)
		if err == nil {
			err = a.lease.Extend(sent, time.Duration(got.LeaseSeconds)*time.Second)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Warn("heartbeat not accepted; retrying", "error", err)
			interval = time.Second
		default:
			last, interval = got, time.Duration(got.HeartbeatSeconds)*time.Second
			if openapi.Value(got.Recovering) || beat.StorageAddress == nil && storageAddress(ctx, got) != nil {
				interval = time.Second
			}
			if got.Resync {
				a.reports.resync()
			}
			a.metrics.heartbeat.SetToCurrentTime()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// storageAddress returns the address from which this node reaches Ceph, and nil if the server has not said where that is.
func storageAddress(ctx context.Context, l openapi.Lease) *string {
	for _, monitor := range openapi.Value(l.CephMonitors) {
		if at, err := route.Source(ctx, monitor); err == nil {
			return new(at.String())
		}
	}
	return nil
}

// countMachines returns how many machines this node has, or may have, after it has applied a revision of the desired state. It returns nil if that is
// not known.
func (a *Agent) countMachines(ctx context.Context) (revision *int64, machines *int) {
	applied, n := a.applied.Load(), a.vms.Outstanding()
	for _, w := range a.allWorkers() {
		if !w.settled.Load() {
			n++ // it may be about to start one
		}
	}
	domains, err := a.vms.List(ctx)
	if err != nil {
		a.log.Warn("cannot count the machines of this node; retrying", "error", err)
		return nil, nil
	}
	processes, err := process.Count(a.cfg.StateDir)
	if err != nil {
		a.log.Warn("cannot count the machines of this node; retrying", "error", err)
		return nil, nil
	}
	n += max(len(domains), processes) // libvirt may have lost one
	return &applied, &n
}
