// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/migrate"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
	"husk/openapi"
	"husk/pki"
)

// A machine moves to another node, or comes from one (package migrate). How a move ends is decided by one transaction of the server, and each agent asks
// for it: a machine that has left continues only if the move was canceled, and a machine that has arrived runs only if it was switched.

// sending is the move of a machine to another node.
type sending struct {
	to     husk.MovePeer
	cancel context.CancelFunc
	done   chan struct{} // closed when the rest is set
	sent   *migrate.Sent // nil if err is set
	err    error
	handed bool
	answer error // of the other node
}

func (s *sending) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// steer begins to move the machine, if the desired state says so and nobody has tried.
func (w *worker) steer(desired husk.DesiredPod) error {
	if w.sending != nil || desired.To == nil || w.rec.Refused == desired.To.Placement || w.rec.Timeline.RunningAt == nil {
		return nil
	}
	w.rec.Sent = desired.To.Placement
	if err := w.save(); err != nil { // an agent that finds it, and has no sending, cancels the move
		return err
	}
	ctx, cancel := context.WithCancel(w.ctx)
	s := &sending{to: *desired.To, cancel: cancel, done: make(chan struct{})}
	w.sending = s
	w.moving.Store(true)
	w.log.Info("moving the machine to another node", "to", s.to.NodeID, "placement", s.to.Placement)
	sender := migrate.Sender{
		VMs: w.agent.vms, Pod: w.id, Sockets: w.agent.cfg.VM.SocketDir(w.id), Logs: w.logDir(),
		Dial: func(ctx context.Context) (net.Conn, error) {
			return migrate.Dial(ctx, pki.ServerClient(w.agent.id.root, w.agent.holder, s.to.NodeID.String()), s.to.Endpoint, w.id, s.to.Placement)
		},
	}
	go func() { // settleMove waits for it
		s.sent, s.err = sender.Send(ctx)
		close(s.done)
		w.poke()
	}()
	return nil
}

// settleMove ends a move that is over, or that the desired state no longer wants. While memory moves, it does nothing.
func (w *worker) settleMove(ctx context.Context, desired husk.DesiredPod, parking bool) error {
	s := w.sending
	if s == nil {
		if w.rec.Sent == 0 {
			return nil
		}
		outcome, err := w.agent.decide(ctx, w.id, w.rec.Sent, "the agent of the node that the pod leaves was restarted")
		if err != nil {
			return err
		}
		return w.ended(ctx, w.rec.Sent, outcome, func(context.Context, bool) error { return nil })
	}
	wanted := desired.State == husk.DesiredRunning && !parking && desired.To != nil && *desired.To == s.to
	if wanted && !s.isDone() {
		return nil
	}
	if !wanted {
		s.cancel()
	}
	<-s.done
	why := "the move is no longer wanted"
	switch {
	case s.err != nil:
		why = s.err.Error()
	case wanted && !s.handed:
		s.handed = true
		state, err := json.Marshal(w.rec)
		if err == nil {
			err = s.sent.Hand(ctx, state)
		}
		s.answer = err
	}
	if s.answer != nil {
		why = s.answer.Error()
	}
	outcome, err := w.agent.decide(ctx, w.id, s.to.Placement, why)
	if err != nil {
		return err // the machine stays paused until the server answers, or the lease runs out
	}
	end := func(context.Context, bool) error { return nil }
	if s.sent != nil {
		end = s.sent.End
	}
	if outcome == openapi.Canceled {
		w.log.Warn("the machine stays on this node", "reason", why)
	}
	s.cancel()
	w.sending = nil
	return w.ended(ctx, s.to.Placement, outcome, end)
}

// forgetMove ends sending without a decision, because the agent ends. A machine that is paused stays so.
func (w *worker) forgetMove() {
	if s := w.sending; s != nil {
		s.cancel()
		<-s.done
		if s.sent != nil {
			s.sent.Forget()
		}
	}
}

// ended records how a move has ended, and then ends the machine or continues it.
func (w *worker) ended(ctx context.Context, placement int64, outcome openapi.MoveOutcomeOutcome, end func(ctx context.Context, moved bool) error) error {
	moved := outcome != openapi.Canceled // the machine may continue only if the pod is still on this node
	w.rec.Sent, w.rec.Refused, w.rec.Moved = 0, placement, moved
	if err := w.save(); err != nil {
		return err
	}
	defer w.moving.Store(false)
	err := end(ctx, moved)
	if moved {
		w.log.Info("the machine has moved to another node", "placement", placement)
		return errors.Join(err, w.dropMoved(ctx))
	}
	if _, exists, e := w.agent.vms.Find(ctx, w.id); e != nil || !exists {
		return errors.Join(err, e)
	}
	return w.agent.vms.Continue(ctx, w.id)
}

// dropMoved removes the machine of a placement whose pod runs on another node. It never starts one.
func (w *worker) dropMoved(ctx context.Context) error {
	if err := w.agent.vms.Destroy(ctx, w.id); err != nil {
		return err
	}
	return errors.Join(w.agent.recordUsage(ctx, w.id, false, nil), w.agent.net.Detach(ctx, w.id))
}

// receive waits for the machine from another node.
func (w *worker) receive(ctx context.Context, desired husk.DesiredPod) error {
	if w.rec.Received == desired.Placement { // it has failed, or an earlier agent has
		return w.notReceived(ctx, desired, "the agent of the node that the pod goes to was restarted")
	}
	var conn net.Conn
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.wake:
		w.poke()
		return nil
	case conn = <-w.arrivals:
	}
	w.rec.Received = desired.Placement
	if err := w.save(); err != nil {
		return errors.Join(err, conn.Close())
	}
	got, err := w.receiveFrom(ctx, desired, conn)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		w.log.Warn("the machine was not received", "error", err)
		return w.notReceived(ctx, desired, err.Error())
	}
	var was record
	if err := json.Unmarshal(got.State, &was); err != nil {
		w.log.Warn("what the other node knows about the pod is unreadable", "error", err)
	}
	w.rec.Started, w.rec.Received, w.rec.Restarts, w.rec.Timeline, w.rec.Life = true, 0, was.Restarts, was.Timeline, was.Life
	if w.rec.Size = nil; was.Size != nil && *was.Size == desired.Resources {
		w.rec.Size, w.rec.Resizing = was.Size, was.Resizing
	}
	if w.rec.Timeline.RunningAt == nil { // a machine that boots is not moved
		w.rec.Timeline.RunningAt, w.rec.Timeline.GuestReadyAt = now(), now()
	}
	if err := w.save(); err != nil {
		return err
	}
	w.poke()
	w.log.Info("the machine has arrived from another node", "from", desired.From.NodeID, "downtime", got.Downtime)
	if _, err := w.agent.server.decideMove(ctx, w.id, openapi.MoveDecision{Placement: desired.Placement, DowntimeMillis: new(int(got.Downtime.Milliseconds()))}); err != nil {
		w.log.Warn("the downtime of the move is not recorded", "error", err)
	}
	return w.agent.began(w.id, time.Now(), nil)
}

// receiveFrom receives the machine over a connection, unless the desired state changes.
func (w *worker) receiveFrom(ctx context.Context, desired husk.DesiredPod, conn net.Conn) (*migrate.Received, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		defer w.poke() // the next round looks again
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
				if now, parking := w.current(); parking || now.Placement != desired.Placement || now.State == husk.DesiredGone {
					cancel()
				}
			}
		}
	})
	ports, err := translate.Ports(desired)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	spec, err := translate.Machine(desired, ports, w.agent.net.MTU(), w.agent.cfg.OverheadMiB)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	names := make([]string, 0, len(desired.Containers))
	for _, c := range desired.Containers {
		names = append(names, c.Name)
	}
	r := migrate.Receiver{
		Logs: w.logDir(), Names: names,
		Prepare: func(ctx context.Context, model vm.Model, cookie []byte) (*vm.Incoming, error) {
			if !w.agent.lease.MayWrite() {
				return nil, errors.New("the node has lost the server")
			}
			if err := w.agent.net.Plug(ctx, ports...); err != nil {
				return nil, err
			}
			return w.agent.vms.Receive(ctx, spec, model, cookie, w.agent.cfg.VM.SocketDir(w.id))
		},
		Switch: func(ctx context.Context) (bool, error) {
			outcome, err := w.agent.decide(ctx, w.id, desired.Placement, "")
			return outcome == openapi.Switched, err
		},
	}
	return r.Receive(ctx, conn)
}

// notReceived cancels a move whose machine is not here. If the server has switched it before, the pod starts here again.
func (w *worker) notReceived(ctx context.Context, desired husk.DesiredPod, why string) error {
	if err := errors.Join(w.agent.vms.Destroy(ctx, w.id), w.agent.net.Detach(ctx, w.id)); err != nil {
		return err
	}
	outcome, err := w.agent.decide(ctx, w.id, desired.Placement, why)
	if err != nil || outcome != openapi.Switched {
		return err // the next desired state removes the pod
	}
	w.rec.Started, w.rec.Received = true, 0 // so that the next round finds that the machine has ended
	return w.save()
}

// decideFor is how long an agent asks how a move has ended, before it looks at the desired state again.
const decideFor = 20 * time.Second

// decide asks the server for the switch, or, with a reason, for the end of a move.
func (a *Agent) decide(ctx context.Context, pod uuid.UUID, placement int64, why string) (openapi.MoveOutcomeOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, decideFor)
	defer cancel()
	d := openapi.MoveDecision{Placement: placement}
	if why != "" {
		const most = 1000
		d.Cancel = new(why[:min(len(why), most)])
	}
	var wait backoff
	for {
		outcome, err := a.server.decideMove(ctx, pod, d)
		if err == nil || ctx.Err() != nil {
			return outcome.Outcome, err
		}
		a.log.Warn("the server has not said how a move ends; retrying", "pod", pod, "error", err)
		wait.sleep(ctx)
	}
}

// onlyServers refuses the requests of nodes.
func onlyServers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !pki.PeerIsServer(r.TLS) {
			problem(w, husk.Errorf(husk.CodeForbidden, "", "only servers may do this"), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// acceptMemory accepts the connection of the node that a pod of this node comes from, and of no other one.
func (a *Agent) acceptMemory(w http.ResponseWriter, r *http.Request) {
	from, err := pki.PeerNode(r.TLS)
	worker := a.workerOf(r)
	placement, asked := migrate.Asked(r)
	if err != nil || !asked || worker == nil || !worker.expects(from.ID, placement) {
		problem(w, husk.Errorf(husk.CodeConflict, "", "this node does not expect the pod from there"), http.StatusConflict)
		return
	}
	conn, err := migrate.Accept(w)
	if err != nil {
		a.log.Warn("cannot take over the connection of another node", "pod", worker.id, "error", err)
		return
	}
	select {
	case worker.arrivals <- conn:
	case <-worker.done:
		_ = conn.Close() //nolint:errcheck // the other node dials again
	case <-time.After(nodeStopGrace):
		_ = conn.Close() //nolint:errcheck // as above
	}
}

// expects reports whether the worker waits for this placement of its pod from a node.
func (w *worker) expects(node string, placement int64) bool {
	desired, _ := w.current()
	return desired.State == husk.DesiredIncoming && desired.From != nil && desired.From.NodeID.String() == node && desired.Placement == placement
}

func (w *worker) logDir() string { return filepath.Join(w.agent.podDir(w.id), "logs") }
