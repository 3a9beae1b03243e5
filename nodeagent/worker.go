package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
)

// record is what an agent must remember of a pod across its own death, beside what libvirt and the guest know.
type record struct {
	// Started: the machine has run. When it is missing later, it has died; it is not waiting for its first start.
	Started  bool            `json:"started"`
	Restarts int             `json:"restarts"` // of the machine
	Final    *husk.PodReport `json:"final,omitempty"`
	Timeline husk.Timeline   `json:"timeline"`
}

// worker brings one pod to where it should be. It is told the newest order and works towards it in rounds; a round that fails is
// repeated with backoff, and any round may be the first after a crash.
type worker struct {
	agent  *Agent
	id     uuid.UUID
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // the worker's own life, which dismiss ends
	cancel context.CancelFunc
	done   chan struct{} // closed: the worker has ended
	parked chan struct{} // closed: the machine was stopped because the node goes down
	wake   chan struct{}

	mu      sync.Mutex
	order   husk.DesiredPod
	parking bool

	// guest is the channel to the pod's husk-init, while there is one, for those who ask from outside.
	guest atomic.Pointer[guest.Client]

	adopted bool // the machine ran before this round; its guest may have the pod already
	rec     record
	logs    map[string]*containerLog
}

// newWorker makes a worker whose run ends with ctx or by cancel.
func newWorker(ctx context.Context, a *Agent, order husk.DesiredPod) *worker {
	ctx, cancel := context.WithCancel(ctx)
	w := &worker{
		ctx: ctx, cancel: cancel,
		agent: a, id: order.ID, log: a.log.With("tenant", order.TenantID, "pod", order.ID), order: order, done: make(chan struct{}),
		parked: make(chan struct{}), wake: make(chan struct{}, 1), logs: map[string]*containerLog{},
	}
	w.makeLogs(order)
	return w
}

func (w *worker) makeLogs(order husk.DesiredPod) {
	for _, c := range order.Containers {
		w.logs[c.Name] = newContainerLog(filepath.Join(w.agent.podDir(order.ID), "logs", c.Name+".jsonl"))
	}
}

// tell hands over the newest order.
func (w *worker) tell(order husk.DesiredPod) {
	w.mu.Lock()
	if order.Generation >= w.order.Generation {
		w.order = order
	}
	w.mu.Unlock()
	w.poke()
}

// park asks for the machine to be stopped without the pod being over.
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
	return w.order, w.parking
}

func (w *worker) run() {
	ctx := w.ctx
	defer close(w.done)
	defer w.cancel()
	defer w.closeLogs()
	if err := w.load(); err != nil {
		w.log.Error("what is remembered of the pod cannot be read; it is taken as new", "error", err)
	}
	var wait backoff
	for ctx.Err() == nil {
		order, parking := w.current()
		var err error
		switch {
		case parking:
			err = w.stopForNode(ctx, order)
		case order.State == husk.DesiredGone:
			err = w.remove(ctx, order)
		case order.State == husk.DesiredFinished, w.rec.Final != nil:
			err = w.finish(ctx, order)
		default:
			err = w.keepUp(ctx, order)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Error("not where it should be; trying again", "state", order.State, "error", err)
			wait.sleep(ctx)
			continue
		}
		wait.reset()
		select { // settled: until there is a new order
		case <-ctx.Done():
		case <-w.wake:
		}
	}
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
	return writeFile(w.file(), raw)
}

// report tells the server something about this pod.
func (w *worker) report(order husk.DesiredPod, event husk.PhaseEvent, reason, message string, containers []husk.ContainerStatus) {
	t := w.rec.Timeline
	w.agent.reports.set(husk.PodReport{
		PodID: w.id, Generation: order.Generation, Event: event, Reason: reason, Message: clip(message), Restarts: w.rec.Restarts,
		Containers: containers, DomainStartingAt: t.DomainStartingAt, DomainStartedAt: t.DomainStartedAt, GuestReadyAt: t.GuestReadyAt,
		RunningAt: t.RunningAt,
	})
}

// clip keeps a message within what the contract allows; guests can be talkative.
func clip(s string) string {
	const most = 4096
	if len(s) <= most {
		return s
	}
	return s[:most-3] + "…"
}

// end writes down how the pod ended, before the machine that knows it is stopped.
func (w *worker) end(order husk.DesiredPod, event husk.PhaseEvent, reason, message string, containers []husk.ContainerStatus) error {
	r := husk.PodReport{
		PodID: w.id, Generation: order.Generation, Event: event, Reason: reason, Message: clip(message), Restarts: w.rec.Restarts, Containers: containers,
	}
	w.rec.Final = &r
	if err := w.save(); err != nil {
		return fmt.Errorf("write down how the pod ended: %w", err)
	}
	w.log.Info("pod ended", "event", event, "reason", reason)
	w.poke() // the next round finishes it, when this one has let go of the guest's channel
	return nil
}

// finish makes sure that nothing of an ended pod runs any more, and says how it ended. Its logs stay until it is deleted.
func (w *worker) finish(ctx context.Context, order husk.DesiredPod) error {
	if err := w.endMachine(ctx, 0); err != nil {
		return err
	}
	for _, l := range w.logs {
		l.end()
	}
	if final := w.rec.Final; final != nil {
		w.report(order, final.Event, final.Reason, final.Message, final.Containers)
	}
	return nil
}

// remove stops the pod, with its grace period, and removes everything of it from this node.
func (w *worker) remove(ctx context.Context, order husk.DesiredPod) error {
	w.report(order, husk.EventStopping, "", "", nil)
	if err := w.endMachine(ctx, time.Duration(order.GracePeriodSeconds)*time.Second); err != nil {
		return err
	}
	w.closeLogs()
	if err := w.agent.destroy(ctx, w.id); err != nil {
		return err
	}
	w.report(order, husk.EventGone, "", "", nil)
	w.rec = record{} // a pod that was evicted may come back to this node
	w.makeLogs(order)
	return nil
}

// stopForNode stops the machine because the node goes down. The pod is not over: it is started again when the node is back.
func (w *worker) stopForNode(ctx context.Context, order husk.DesiredPod) error {
	select {
	case <-w.parked:
		return nil
	default:
	}
	grace := min(nodeStopGrace, time.Duration(order.GracePeriodSeconds)*time.Second)
	if err := w.endMachine(ctx, grace); err != nil {
		return err
	}
	if order.RestartPolicy != husk.RestartNever && w.rec.Started {
		w.rec.Started = false // an orderly stop is no death
		w.rec.Timeline = husk.Timeline{}
		if err := w.save(); err != nil {
			return err
		}
		w.report(order, husk.EventStarting, "NodeStopped", "the node was stopped; the pod starts again when it is back", nil)
	}
	close(w.parked)
	return nil
}

func (w *worker) closeLogs() {
	for _, l := range w.logs {
		l.close()
	}
}
