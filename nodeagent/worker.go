// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/nodeagent/console"
	"husk/nodeagent/file"
	"husk/nodeagent/growth"
	"husk/nodeagent/history"
	"husk/nodeagent/lifetime"
	"husk/nodeagent/podlog"
	"husk/nodeagent/reports"
	"husk/nodeagent/resize"
	"husk/nodeagent/vm"
)

// record is what an agent must remember about a pod after a crash, in addition to what libvirt and
// the guest know.
type record struct {
	// Placement is the one that the rest is about. It is 0 if an agent stored it that did not know placements.
	Placement int64 `json:"placement,omitempty"`
	// Started: the machine has run. If there is no machine later, it has ended, and is not waiting
	// for its first start.
	Started  bool            `json:"started"`
	Restarts int             `json:"restarts"` // of the machine
	Final    *husk.PodReport `json:"final,omitempty"`
	Timeline husk.Timeline   `json:"timeline"`
	Life     lifetime.State  `json:"life,omitzero"`
	Silent   bool            `json:"silent,omitempty"` // the agent has ended the machine because its guest did not respond
	// Reason and Message say why the machine had to be started again. They are reported until the pod runs.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Sent is the placement to which the machine is being moved, and Refused the last one of which the end is known. Moved: the machine has moved,
	// and must not start here again. Received is the placement of a machine that has begun to arrive.
	Sent     int64 `json:"sent,omitempty"`
	Refused  int64 `json:"refused,omitempty"`
	Moved    bool  `json:"moved,omitempty"`
	Received int64 `json:"received,omitempty"`
	// Size is what the machine has; nil if it is not known. Resizing: it is being changed.
	Size     *husk.Resources `json:"size,omitempty"`
	Resizing bool            `json:"resizing,omitempty"`
}

// worker brings one pod to its desired state. It gets the newest desired state and works towards it
// in rounds. A round that fails is repeated with backoff, and any round may be the first after a
// crash.
type worker struct {
	agent  *Agent
	id     uuid.UUID
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // the worker's own context, which dismiss ends
	cancel context.CancelFunc
	done   chan struct{} // closed: the worker has ended
	parked chan struct{} // closed: the machine was stopped because the node is shutting down
	wake   chan struct{}

	mu      sync.Mutex
	desired husk.DesiredPod
	parking bool

	// guest is the channel to the pod's husk-init while it is connected, for requests from outside.
	guest atomic.Pointer[guest.Client]
	over  atomic.Bool // the pod has ended
	// settled: the pod is in its desired state, and the worker does nothing until that changes.
	settled atomic.Bool

	sending  *sending      // the machine is moving to another node; only the worker's own goroutine uses it
	moving   atomic.Bool   // nothing about the machine can be changed
	arrivals chan net.Conn // of the node that the machine comes from

	adopted bool // the machine was running before this round; its guest may already have the pod
	// startedHere: this agent, not a previous one, has started the machine. silentSince is when this
	// agent began to wait for the guest's response.
	startedHere bool
	silentSince time.Time
	rec         record
	logs        map[string]*podlog.Log
	logBudget   *podlog.Budget // of all containers
	flood       *console.Flood // only upkeep uses it
	volumes     *growth.Volumes
	size        resize.Size
	machine     *resize.Machine
	limited     atomic.Bool // the machine's cpu is limited
	history     *history.Book
}

// newWorker makes a worker that runs until ctx ends or cancel is called.
func newWorker(ctx context.Context, a *Agent, desired husk.DesiredPod) *worker {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{
		ctx: ctx, cancel: cancel,
		agent: a, id: desired.ID, log: a.log.With("tenant", desired.TenantID, "pod", desired.ID), desired: desired, done: make(chan struct{}),
		parked: make(chan struct{}), wake: make(chan struct{}, 1), arrivals: make(chan net.Conn),
		logBudget: podlog.NewBudget(), flood: console.NewFlood(vm.ConsoleLog(a.cfg.VM.LogDir, desired.ID.String())),
		history: history.New(a.podDir(desired.ID)),
	}
	w.makeLogs(desired)
	return w
}

func (w *worker) makeLogs(desired husk.DesiredPod) {
	logs := map[string]*podlog.Log{}
	for _, c := range desired.Containers {
		logs[c.Name] = podlog.New(filepath.Join(w.agent.podDir(desired.ID), "logs"), c.Name, podlog.FileLimit(len(desired.Containers)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = logs
}

// logOf returns a container's log, for requests from outside, and nil if there is no such container.
func (w *worker) logOf(container string) *podlog.Log {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs[container]
}

// tell passes the newest desired state to the worker, and wakes it if that has changed.
func (w *worker) tell(desired husk.DesiredPod) {
	w.mu.Lock()
	changed := desired.Generation >= w.desired.Generation && !reflect.DeepEqual(desired, w.desired)
	if changed {
		w.desired = desired
		w.settled.Store(false)
	}
	w.mu.Unlock()
	if changed {
		w.poke()
	}
}

// settle notes that the worker has nothing to do, unless the desired state has changed since it began.
func (w *worker) settle(done husk.DesiredPod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled.Store(reflect.DeepEqual(done, w.desired))
}

// park requests that the machine stops without ending the pod; see stopForNode.
func (w *worker) park() {
	w.mu.Lock()
	w.parking = true
	w.mu.Unlock()
	w.poke()
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) current() (husk.DesiredPod, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.desired, w.parking
}

func (w *worker) run() {
	ctx := w.ctx
	defer close(w.done)
	defer w.cancel()
	defer w.closeLogs()
	defer w.forgetMove()
	if err := w.load(); err != nil {
		w.log.Error("stored state of the pod is unreadable; treating the pod as new", "error", err)
	}
	w.over.Store(w.rec.Final != nil)
	var wait backoff
	for ctx.Err() == nil {
		desired, parking := w.current()
		err := w.settleMove(ctx, desired, parking)
		if err == nil {
			err = w.leaveEarlier(ctx, desired)
		}
		switch {
		case err != nil:
		case parking:
			err = w.stopForNode(ctx, desired)
		case desired.State == husk.DesiredGone:
			err = w.remove(ctx, desired)
		case desired.State == husk.DesiredFinished, w.rec.Final != nil:
			err = w.finish(ctx, desired)
		case w.rec.Moved && desired.State == husk.DesiredRunning: // the server is about to remove it from here
			err = w.dropMoved(ctx)
		case desired.State == husk.DesiredIncoming && desired.From != nil:
			err = w.receive(ctx, desired)
		case desired.State == husk.DesiredRunning, desired.State == husk.DesiredIncoming:
			err = w.keepUp(ctx, desired)
		default:
			w.unknown(desired)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Error("pod is not in its desired state; retrying", "state", desired.State, "error", err)
			wait.sleep(ctx)
			continue
		}
		wait.reset()
		w.settle(desired)
		select { // wait for a new desired state
		case <-ctx.Done():
		case <-w.wake:
		}
	}
}

// leaveEarlier removes what is left of an earlier placement of the pod on this node, which was fenced or ended elsewhere meanwhile.
func (w *worker) leaveEarlier(ctx context.Context, desired husk.DesiredPod) error {
	earlier := func(p int64) bool { return p != 0 && desired.Placement != 0 && p != desired.Placement }
	if w.rec.Placement == desired.Placement {
		return nil
	}
	domain, _, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return err
	}
	if earlier(w.rec.Placement) || earlier(domain.Placement) {
		w.log.Warn("removing what is left of an earlier placement of the pod", "earlier", max(w.rec.Placement, domain.Placement), "placement", desired.Placement)
		w.closeLogs()
		if err := w.agent.destroy(ctx, w.id); err != nil {
			return err
		}
		w.over.Store(false)
		w.rec = record{}
		w.makeLogs(desired)
	}
	w.rec.Placement = desired.Placement
	return nil
}

// unknown leaves the pod as it is. A newer server may know instructions that this agent does not,
// and each guess could be the wrong one.
func (w *worker) unknown(desired husk.DesiredPod) {
	w.agent.metrics.unknown.Inc()
	w.log.Error("this agent does not know the pod's desired state and leaves the pod as it is; update the agent", "state", desired.State)
}

func (w *worker) file() string { return filepath.Join(w.agent.podDir(w.id), "state.json") }

func (w *worker) load() error {
	raw, err := os.ReadFile(w.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, &w.rec)
}

func (w *worker) save() error {
	if err := os.MkdirAll(filepath.Join(w.agent.podDir(w.id), "logs"), 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(w.rec)
	if err != nil {
		return err
	}
	return file.Write(w.file(), raw)
}

// report queues a report about the pod for the server.
func (w *worker) report(desired husk.DesiredPod, event husk.PhaseEvent, reason, message string, containers []husk.ContainerStatus) {
	t := w.rec.Timeline
	if event == husk.EventStarting && reason == "" {
		reason, message = w.rec.Reason, w.rec.Message
	}
	var size *husk.Resources
	if event == husk.EventRunning {
		if has := w.size.Has(); has.CPUMillis > 0 {
			size = &has
		}
	}
	w.agent.reports.set(husk.PodReport{
		Resources: size, PodID: w.id, Placement: desired.Placement, Generation: desired.Generation, Event: event, Reason: reason, Message: message, Restarts: w.rec.Restarts,
		Containers: containers, DomainStartingAt: t.DomainStartingAt, NetworkConnectedAt: t.NetworkConnectedAt, DomainStartedAt: t.DomainStartedAt, GuestReadyAt: t.GuestReadyAt,
		RunningAt: t.RunningAt,
	})
}

// end stores how the pod ended. It must do so before the machine is stopped, because after that the
// guest cannot report it again.
func (w *worker) end(desired husk.DesiredPod, event husk.PhaseEvent, reason, message string, containers []husk.ContainerStatus) error {
	r := reports.Bounded(husk.PodReport{
		PodID: w.id, Placement: desired.Placement, Generation: desired.Generation, Event: event, Reason: reason, Message: message, Restarts: w.rec.Restarts, Containers: containers,
	})
	w.rec.Final = &r
	w.over.Store(true)
	if err := w.save(); err != nil {
		return fmt.Errorf("store how the pod ended: %w", err)
	}
	w.log.Info("pod ended", "event", event, "reason", reason)
	w.poke() // the next round finishes it, after this one has released the guest's channel
	return nil
}

// finish makes sure that nothing of an ended pod runs any more, and reports how it ended. Its logs
// stay until it is deleted.
func (w *worker) finish(ctx context.Context, desired husk.DesiredPod) error {
	if err := w.endMachine(ctx, 0); err != nil {
		return err
	}
	for _, l := range w.logs {
		l.End()
	}
	if final := w.rec.Final; final != nil {
		w.report(desired, final.Event, final.Reason, final.Message, final.Containers)
	}
	return nil
}

// remove stops the pod, with its grace period, and removes everything of it from this node.
func (w *worker) remove(ctx context.Context, desired husk.DesiredPod) error {
	w.report(desired, husk.EventStopping, "", "", nil)
	if err := w.endMachine(ctx, time.Duration(desired.GracePeriodSeconds)*time.Second); err != nil {
		return err
	}
	w.closeLogs()
	if err := w.agent.destroy(ctx, w.id); err != nil {
		return err
	}
	w.report(desired, husk.EventGone, "", "", nil)
	w.over.Store(false)
	w.rec = record{} // an evicted pod may be scheduled to this node again
	w.makeLogs(desired)
	return nil
}

// stopForNode stops the machine because the node shuts down. When the node is back, the pod is
// started again, unless its restart policy is Never; then it has failed.
func (w *worker) stopForNode(ctx context.Context, desired husk.DesiredPod) error {
	select {
	case <-w.parked:
		return nil
	default:
	}
	grace := min(nodeStopGrace, time.Duration(desired.GracePeriodSeconds)*time.Second)
	if err := w.endMachine(ctx, grace); err != nil {
		return err
	}
	if desired.RestartPolicy != husk.RestartNever && w.rec.Started {
		w.rec.Started = false // an orderly stop does not count as a crash
		w.rec.Timeline = husk.Timeline{}
		if err := w.save(); err != nil {
			return err
		}
		w.report(desired, husk.EventStarting, "NodeStopped", "the node was shut down; the pod starts again when the node is back", nil)
	}
	close(w.parked)
	return nil
}

func (w *worker) closeLogs() {
	for _, l := range w.logs {
		l.Close()
	}
}
