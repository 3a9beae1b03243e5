// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/server/request"
	"husk/store"
	"husk/store/ledger"
)

// RegisterNode admits a node by its join token. The server uses only the secret in the token; the rest is for the agent.
func (a api) RegisterNode(ctx context.Context, r openapi.RegisterNodeRequestObject) (openapi.RegisterNodeResponseObject, error) {
	secret, _, err := pki.SplitJoinToken(r.Body.Token)
	if err != nil {
		return nil, husk.Errorf(husk.CodeUnauthenticated, "token", "%s", err)
	}
	id, c, err := a.control.RegisterNode(ctx, secret, r.Body.Name, a.auth.CertificateFor(r.Body.CertificateRequest))
	if err != nil {
		return nil, err
	}
	a.log.Info("admitted a node", "node", id, "name", r.Body.Name, "serial", c.Serial, "expires_at", c.ExpiresAt)
	return openapi.RegisterNode201JSONResponse{NodeID: id, Certificate: c.PEM, Authority: a.auth.Root().PEM()}, nil
}

// Heartbeat renews the lease of the calling node.
func (a api) Heartbeat(ctx context.Context, r openapi.HeartbeatRequestObject) (openapi.HeartbeatResponseObject, error) {
	beat := store.Beat{Node: husk.Node{
		ID: request.Of(ctx).Caller.NodeID, Capacity: husk.Resources(r.Body.Capacity), VMMOverheadMiB: r.Body.VmmOverheadMiB,
		Endpoint: r.Body.Endpoint, ScratchGiB: r.Body.ScratchGiB, Capabilities: openapi.Value(r.Body.Capabilities), StorageAddress: openapi.Value(r.Body.StorageAddress),
	}, Machines: -1, Revision: openapi.Value(r.Body.Revision)}
	if r.Body.Machines != nil {
		beat.Machines = *r.Body.Machines
	}
	resync, recovering, err := a.control.Heartbeat(ctx, beat)
	lease := a.terms.Lease
	if recovering { // a machine that starts now would not be fenced
		lease = 0
	}
	return openapi.Heartbeat200JSONResponse{
		LeaseSeconds: int(lease.Seconds()), HeartbeatSeconds: int(a.terms.Heartbeat.Seconds()), Resync: resync,
		Recovering: &recovering, CephMonitors: &a.desired.Monitors,
	}, err
}

// GetDesiredState responds as soon as the node's desired state is newer than the revision that the agent knows, and after waitSeconds at
// the latest. An agent that says so gets only what has changed. Agents of earlier versions get the whole state.
func (a api) GetDesiredState(ctx context.Context, r openapi.GetDesiredStateRequestObject) (openapi.GetDesiredStateResponseObject, error) {
	node := request.Of(ctx).Caller.NodeID
	after := int64(-1)
	if r.Params.After != nil {
		after = *r.Params.After
	}
	hint, done := a.control.WatchNode(node)
	defer done()
	timeout := time.After(time.Duration(openapi.Value(r.Params.WaitSeconds)) * time.Second)
	for waiting := true; waiting; {
		revision, incarnation, err := a.control.DesiredRevision(ctx, node)
		if err != nil {
			return nil, err
		}
		if known := husk.Incarnation(openapi.Value(r.Params.Incarnation)); known != "" && known != incarnation {
			after = -1
		}
		if revision > after {
			break
		}
		select {
		case <-hint:
		case <-timeout:
			waiting = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// The response contains the keys of the node's disks. The certificate may have been revoked while the request waited.
	if err := a.control.AuthenticateNode(ctx, node, request.Of(ctx).Certificate); err != nil {
		return nil, err
	}
	var known *int64
	if openapi.Value(r.Params.Changes) && after >= 0 {
		known = &after
	}
	stored, err := a.control.Desired(ctx, node, known)
	if err != nil {
		return nil, err
	}
	state, err := a.desired.Of(node, after, stored, r.Params.FromPod, openapi.Value(r.Params.Changes))
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetDesiredState200JSONResponse](state)
}

// turns limits how many requests of one kind are worked on at the same time. The others wait before they begin.
type turns chan struct{}

// reportTurns lets reports use half of the connections that serve agents, so that heartbeats and desired states do not wait for them. When many
// agents report at once, for example after their server was restarted, each report is also recorded quickly once it has its turn. If all of them
// were worked on at the same time, all would time out, and their agents would send all of them again.
func reportTurns(st *store.Store) turns {
	n := 1
	for _, c := range st.Connections() {
		if c.Pool == "control" {
			n = max(1, int(c.Max)/2)
		}
	}
	return make(turns, n)
}

// enter waits for a turn. leave follows unless it returns an error.
func (t turns) enter(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) leave() { <-t }

// usageTimeout is how long a report waits for the ledger before it records the pods' statuses without it. The agent then reports again.
const usageTimeout = 5 * time.Second

// ReportStatus records an agent's reports about pods on its own node, each independently of the others.
func (a api) ReportStatus(ctx context.Context, r openapi.ReportStatusRequestObject) (openapi.ReportStatusResponseObject, error) {
	reports, err := openapi.Recast[[]husk.PodReport](r.Body.Pods)
	if err != nil {
		return nil, err
	}
	if err := a.reporting.enter(ctx); err != nil {
		return nil, err
	}
	defer a.reporting.leave()
	node, perItem := request.Of(ctx).Caller.NodeID, openapi.Value(r.Params.PerItem)
	failures := itemFailures{items: request.Of(ctx).Items}
	var usageErr error
	if r.Body.Runs != nil { // first, because the last report about a pod deletes the pod's row
		runs, err := openapi.Recast[[]husk.MachineRun](*r.Body.Runs)
		if err != nil {
			return nil, err
		}
		ledger, done := context.WithTimeout(ctx, usageTimeout)
		misdated, err := a.recordRuns(ledger, node, runs)
		done()
		if usageErr = failures.add(openapi.Runs, err); usageErr != nil { // the statuses do not wait for the ledger, but pods stay until their usage is recorded
			reports = slices.DeleteFunc(reports, func(p husk.PodReport) bool { return p.Event == husk.EventGone })
		}
		a.clocks.warn(a.log, node, misdated, time.Now())
	}
	if err := failures.add(openapi.Pods, a.control.Report(ctx, node, reports)); err != nil {
		return nil, err
	}
	if usageErr != nil {
		return nil, usageErr
	}
	if failures.unrecorded != nil {
		a.log.Error("could not record items of an agent's report; the others are recorded", "node", node, "items", len(failures.list), "error", failures.unrecorded)
	}
	switch all := failures.all(); {
	case failures.unrecorded != nil && !perItem: // so that an agent of an earlier version sends them again
		return nil, failures.unrecorded
	case len(all) == 0 || !perItem:
		return openapi.ReportStatus204Response{}, nil
	default:
		return openapi.ReportStatus200JSONResponse{Items: all}, nil
	}
}

// recordRuns records usage intervals. The store records all or none. If it cannot record one of them, recordRuns still records the others.
func (a api) recordRuns(ctx context.Context, node store.ID, runs []husk.MachineRun) ([]ledger.MisdatedRun, error) {
	misdated, err := a.control.RecordRuns(ctx, node, runs)
	if err == nil || ctx.Err() != nil || husk.CodeOf(err) != husk.CodeInternal {
		return misdated, err
	}
	misdated = nil
	failed := husk.ItemsError{}
	for i, r := range runs {
		more, err := a.control.RecordRuns(ctx, node, []husk.MachineRun{r})
		if ctx.Err() != nil || err != nil && husk.CodeOf(err) != husk.CodeInternal {
			return misdated, err // the others would fail in the same way
		}
		if misdated = append(misdated, more...); err != nil {
			failed[i] = fmt.Errorf("usage interval of pod %s: %w", r.PodID, err)
		}
	}
	return misdated, failed.OrNil()
}

// itemFailures collects the items of a report that were not recorded.
type itemFailures struct {
	items      request.Items // what the contract refused
	list       []openapi.ReportFailure
	unrecorded error
}

// add adds the items that the store could not record. It returns other errors of the store.
func (f *itemFailures) add(list openapi.ReportFailureList, err error) error {
	failed, ok := errors.AsType[husk.ItemsError](err)
	if !ok {
		return err
	}
	f.unrecorded = errors.Join(f.unrecorded, err)
	for i := range failed {
		f.list = append(f.list, openapi.ReportFailure{
			List: list, Index: f.items.Position(string(list), i), Code: string(husk.CodeInternal), Detail: "the server could not record it; its log has the details", Retry: true,
		})
	}
	return nil
}

// all adds the items that the contract refused, and returns all failures.
func (f *itemFailures) all() []openapi.ReportFailure {
	for _, i := range f.items.Refused {
		failure := openapi.ReportFailure{List: openapi.ReportFailureList(i.List), Index: i.Index, Code: string(husk.CodeOf(i.Err)), Detail: i.Err.Error()}
		if e, ok := errors.AsType[*husk.Error](i.Err); ok {
			failure.Detail = e.Detail
			if e.Field != "" {
				failure.Field = &e.Field
			}
		}
		f.list = append(f.list, failure)
	}
	return f.list
}

// ReportSamples stores an agent's samples of pods on its own node.
func (a api) ReportSamples(ctx context.Context, r openapi.ReportSamplesRequestObject) (openapi.ReportSamplesResponseObject, error) {
	samples, err := openapi.Recast[[]husk.PodSample](r.Body.Pods)
	if err != nil {
		return nil, err
	}
	counts, err := openapi.Recast[[]husk.SecurityCount](openapi.Value(r.Body.SecurityCounts))
	if err != nil {
		return nil, err
	}
	drops, err := openapi.Recast[[]husk.SecurityDrop](openapi.Value(r.Body.SecurityDrops))
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "securityDrops", "an address is not one: %v", err)
	}
	node := request.Of(ctx).Caller.NodeID
	if err := a.control.SecurityGroups().Record(ctx, node, counts, drops); err != nil {
		return nil, err
	}
	return openapi.ReportSamples204Response{}, a.control.RecordSamples(ctx, node, samples)
}

// clockWarningEvery limits the warnings about the clock of one node: agents report runs every few seconds.
const clockWarningEvery = 10 * time.Minute

// clockWarnings logs which nodes report runs with impossible dates. The store does not record those runs.
type clockWarnings struct {
	mu   sync.Mutex
	last map[store.ID]time.Time // by node
}

func (c *clockWarnings) warn(log *slog.Logger, node store.ID, runs []ledger.MisdatedRun, now time.Time) {
	if len(runs) == 0 {
		return
	}
	c.mu.Lock()
	due := now.Sub(c.last[node]) >= clockWarningEvery
	if due {
		c.last[node] = now
	}
	c.mu.Unlock()
	if due {
		log.Warn("a node reports virtual machines that started before their pods were placed, or in the future; their usage is not recorded. Most likely the node's clock is wrong: correct it",
			"node", node, "pod", runs[0].PodID, "started_at", runs[0].StartedAt, "placed_at", runs[0].PlacedAt, "now", now, "machines", len(runs))
	}
}
