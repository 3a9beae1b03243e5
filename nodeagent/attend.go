// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"husk"
	"husk/guest"
	"husk/nodeagent/console"
	"husk/nodeagent/growth"
	"husk/nodeagent/lifetime"
	"husk/nodeagent/resize"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
)

// attend talks to the guest until it ends, the connection breaks, or the desired state changes.
func (w *worker) attend(ctx context.Context, desired husk.DesiredPod, domain vm.Domain) error {
	limitCPU, stop := w.upkeep(ctx, desired)
	defer stop()
	client, status, err := w.reach(ctx, desired, domain)
	if err != nil {
		if call, ok := errors.AsType[*guest.CallError](err); ok && call.Code == guest.CodeInvalid {
			return w.end(desired, husk.EventFailed, "GuestRefused", call.Message, nil)
		}
		return w.noAnswer(ctx, desired, err)
	}
	defer client.Close() //nolint:errcheck // the connection is no longer used
	w.guest.Store(client)
	defer w.guest.Store(nil)
	ctx, cancel := context.WithCancel(ctx)
	var pumps sync.WaitGroup
	defer func() { cancel(); pumps.Wait() }()
	w.logBudget.Live()
	for name, log := range w.logs {
		log.Begin()
		pumps.Go(func() { w.pump(ctx, client, status.BootID, name, log) })
	}
	w.volumes = growth.Of(w.agent.vms, client, w.log, desired)
	pumps.Go(func() { w.volumes.Run(ctx) })
	resized := make(chan struct{}, 1)
	w.machine = resize.New(resize.Machine{
		Machines: w.agent.vms, Guest: client, Pod: w.id, Size: &w.size, Log: w.log, Resting: w.moving.Load,
		LimitCPU: func() {
			if w.limited.Load() {
				limitCPU()
			}
		},
		Changed: func() {
			select {
			case resized <- struct{}{}:
			default:
			}
		},
	})
	pumps.Go(func() { w.machine.Run(ctx) })
	pumps.Go(func() { w.askGuest(ctx) }) // the machine may have been paused
	return w.watch(ctx, desired, client, status, limitCPU, resized, &pumps)
}

// reach connects to the guest and sends it the pod. The guest must respond to both before its
// deadline (answerBy). A new desired state does not move the deadline.
func (w *worker) reach(ctx context.Context, desired husk.DesiredPod, domain vm.Domain) (*guest.Client, guest.Status, error) {
	ctx, cancel := context.WithDeadline(ctx, w.answerBy())
	defer cancel()
	client, err := w.dial(ctx, domain)
	if err != nil {
		return nil, guest.Status{}, err
	}
	ready := now()
	status, err := w.handOver(ctx, client, desired)
	if err != nil {
		return nil, guest.Status{}, errors.Join(fmt.Errorf("send the pod to its guest: %w", err), client.Close())
	}
	w.silentSince, w.rec.Silent = time.Time{}, false
	if w.rec.Timeline.GuestReadyAt == nil {
		w.rec.Timeline.GuestReadyAt = ready
		if err := w.save(); err != nil { // the next agent must not end the machine because its boot took too long
			return nil, guest.Status{}, errors.Join(err, client.Close())
		}
	}
	return client, status, nil
}

// answerBy returns when the guest must have responded.
func (w *worker) answerBy() time.Time {
	if w.silentSince.IsZero() {
		w.silentSince = time.Now()
	}
	m := lifetime.Machine{HasAnswered: w.rec.Timeline.GuestReadyAt != nil, Adopted: !w.startedHere, SilentSince: w.silentSince}
	if at := w.rec.Timeline.DomainStartedAt; at != nil {
		m.Started = *at
	} else if at, ok := w.agent.usage.StartOf(w.id); ok { // the agent crashed between the start and recording it
		m.Started = at
	}
	return m.AnswerBy(w.agent.cfg.BootTimeout)
}

// upkeepEvery is how often the surroundings of a running machine are restored.
const upkeepEvery = 5 * time.Second

// floodMillis is the cpu limit of a machine that floods its console, in thousandths of a core. With
// less, its guest would not respond in time.
const floodMillis = 20

// upkeep restores the surroundings of a running machine, such as its network rules, if something
// has changed them. It sets the cpu limit when the burst ends, or at once when limitCPU is called.
// A machine that floods its console gets a lower limit for a while. upkeep works in the background
// until stop is called.
func (w *worker) upkeep(ctx context.Context, desired husk.DesiredPod) (limitCPU, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	at := make(chan struct{}, 1)
	var running sync.WaitGroup
	burst := w.rec.Life.UnlimitedFor(time.Now())
	w.limited.Store(burst == 0)
	running.Go(func() {
		tick, look, burstEnd := time.NewTicker(upkeepEvery), time.NewTicker(console.LookEvery), time.After(burst)
		defer tick.Stop()
		defer look.Stop()
		limited, flooding := false, false
		due := false // the limit was not set because the machine was moving
		for {
			var err error
			select {
			case <-ctx.Done():
				return
			case <-burstEnd:
				limited, due = true, true
			case <-at:
				limited, due = true, true
			case <-look.C:
				if flooding == w.flood.Check(time.Now()) {
					continue
				}
				flooding, limited = !flooding, true // a flood, or its end, also ends the burst
				if flooding {
					w.log.Warn("the machine prints too much on its console; limiting its cpu until it has made up for it")
					w.agent.metrics.floods.Inc()
				} else {
					w.log.Info("the machine has made up for what it printed on its console; its cpu limit is normal again")
				}
			case <-tick.C:
				if !w.moving.Load() {
					err = w.restore(ctx, desired)
				}
			}
			if limited && w.moving.Load() {
				due = true
				continue
			}
			if limited || due {
				due = false
				w.limited.Store(true)
				millis := w.size.LimitMillis()
				if flooding {
					millis = min(millis, floodMillis)
				}
				err = errors.Join(err, w.agent.vms.LimitCPU(context.WithoutCancel(ctx), w.id, millis))
			}
			if err != nil && ctx.Err() == nil {
				w.log.Warn("surroundings of the machine are not in their desired state; retrying", "error", err)
			}
		}
	})
	limitCPU = func() {
		select {
		case at <- struct{}{}:
		default:
		}
	}
	return limitCPU, func() { cancel(); running.Wait() }
}

// restore restores the network rules and the memory limit. An end of ctx does not interrupt it,
// because libvirt's calls cannot be interrupted.
func (w *worker) restore(ctx context.Context, desired husk.DesiredPod) error {
	ports, err := translate.Ports(desired)
	if err != nil {
		return err
	}
	return errors.Join(w.agent.net.Attach(ctx, ports...), w.limitMemory(context.WithoutCancel(ctx)))
}

// handOver sends the pod to the guest, unless a previous agent has done so.
func (w *worker) handOver(ctx context.Context, client *guest.Client, desired husk.DesiredPod) (guest.Status, error) {
	if w.adopted { // a guest that was just started cannot have the pod, so not asking it saves a round trip
		hello, err := client.Hello(ctx)
		if err != nil {
			return guest.Status{}, err
		}
		if hello.Started {
			if err := w.update(ctx, client, desired); err != nil { // this agent was not there when the values changed
				return guest.Status{}, err
			}
			return client.WaitStatus(ctx, 0, time.Second)
		}
	}
	spec, err := translate.Guest(desired, w.agent.net.MTU())
	if err != nil { // a retry would fail too
		return guest.Status{}, &guest.CallError{Code: guest.CodeInvalid, Message: err.Error()}
	}
	if w.rec.Restarts > 0 { // its client attached to the first machine
		for i := range spec.Containers {
			spec.Containers[i].StartOnAttach = false
		}
	}
	return client.Start(ctx, spec)
}

// update sends the guest the current values of configs and secrets. A guest that refuses them keeps
// those that it has.
func (w *worker) update(ctx context.Context, client *guest.Client, desired husk.DesiredPod) error {
	if desired.ValuesError != "" {
		w.log.Warn("the pod keeps the values of configs and secrets that it has", "error", desired.ValuesError)
		return nil
	}
	spec, err := translate.Guest(desired, w.agent.net.MTU())
	if err != nil {
		return err
	}
	err = client.Update(ctx, spec.Values())
	if call, ok := errors.AsType[*guest.CallError](err); ok {
		w.log.Warn("the guest does not accept changed values", "error", call.Message)
		return nil
	}
	return err
}

// watch follows the guest's status and passes it on.
func (w *worker) watch(ctx context.Context, desired husk.DesiredPod, client *guest.Client, status guest.Status, limitCPU func(), resized <-chan struct{}, pumps *sync.WaitGroup) error {
	updates := make(chan guest.Status)
	failed := make(chan error, 1)
	pumps.Go(func() {
		for revision := status.Revision; ; {
			s, err := client.WaitStatus(ctx, revision, guest.MaxWait/2)
			if err != nil {
				failed <- err
				return
			}
			if s.Revision == revision {
				continue
			}
			revision = s.Revision
			select {
			case updates <- s:
			case <-ctx.Done():
				return
			}
		}
	})
	if w.rec.Timeline.RunningAt != nil {
		limitCPU()
	}
	for {
		booting := w.rec.Timeline.RunningAt == nil
		if done, err := w.apply(desired, status); done {
			return err
		}
		if booting && w.rec.Timeline.RunningAt != nil {
			limitCPU()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case status = <-updates:
		case <-resized:
			if err := w.resized(); err != nil {
				return err
			}
		case err := <-failed:
			return fmt.Errorf("lost the guest: %w", err) // the next round finds out whether the machine still runs
		case <-w.wake:
			if w.sending != nil && w.sending.isDone() {
				w.poke()
				return nil // the next round ends the move
			}
			now, parking := w.current()
			if w.sending != nil && (parking || now.To == nil || *now.To != w.sending.to) {
				w.poke()
				return nil // the next round cancels the move
			}
			if !parking && reflect.DeepEqual(now, desired) {
				continue // changed and changed back
			}
			if !parking && translate.SameMachine(now, desired) && w.update(ctx, client, now) == nil {
				w.volumes.Set(now)
				if err := w.resize(now.Resources); err != nil {
					return err
				}
				if err := w.recordUsage(ctx, now, true); err != nil {
					return err
				}
				desired = now
				if err := w.steer(now); err != nil {
					return err
				}
				continue
			}
			if parking || now.State == husk.DesiredGone {
				w.stopAttended(ctx, client, updates, failed)
			}
			w.poke()
			return nil // the next round uses the new desired state
		}
	}
}

// apply passes on one status. done is true if no further status will follow.
func (w *worker) apply(desired husk.DesiredPod, s guest.Status) (done bool, err error) {
	containers := translate.Statuses(s.Containers, desired)
	switch s.Phase {
	case guest.PhaseSucceeded:
		w.drain()
		return true, w.end(desired, husk.EventSucceeded, "Completed", "", containers)
	case guest.PhaseFailed:
		w.drain()
		reason, message := translate.FailureOf(s, desired)
		return true, w.end(desired, husk.EventFailed, reason, message, containers)
	case guest.PhaseRunning:
		if translate.AllRunning(s.Containers) && w.rec.Timeline.RunningAt == nil {
			w.rec.Timeline.RunningAt = now()
			w.rec.Life.Limit(time.Now())
			w.rec.Reason, w.rec.Message = "", ""
			w.agent.metrics.starts.Observe(time.Since(*w.startedAt()).Seconds())
			if err := w.save(); err != nil {
				return true, err
			}
		}
		if w.rec.Timeline.RunningAt != nil {
			reason, message := husk.RunningReason(containers)
			w.report(desired, husk.EventRunning, reason, message, containers)
			return false, nil
		}
	}
	reason, message := husk.RunningReason(containers) // of init containers
	w.report(desired, husk.EventStarting, reason, message, containers)
	return false, nil
}

func (w *worker) startedAt() *time.Time {
	if t := w.rec.Timeline.DomainStartingAt; t != nil {
		return t
	}
	return w.rec.Timeline.GuestReadyAt
}

// drainTime is how long the agent waits for the last output of an ended pod, and for the ends of its
// streams. attachedTime is how long it waits for attached clients, which may read slowly. drainLook
// is how often it checks.
const (
	drainTime    = 2 * time.Second
	attachedTime = 10 * time.Second
	drainLook    = 10 * time.Millisecond
)

// drain waits until the pumps have caught up, so that the last output of an ended pod is stored,
// and until the clients of its streams have received their exit codes.
func (w *worker) drain() {
	w.logBudget.Last()
	patience := drainTime
	for _, l := range w.logs {
		if l.Attached() {
			patience = attachedTime
		}
	}
	deadline := time.After(patience)
	for _, l := range w.logs {
		select {
		case <-l.CaughtUp():
		case <-deadline:
			return
		}
	}
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for c := w.guest.Load(); c != nil && c.Sessions() > 0; {
		select {
		case <-look.C:
		case <-deadline:
			return
		}
	}
}

// noAnswer handles a guest that does not respond: its machine has ended, or its deadline has passed
// and the machine is destroyed here.
func (w *worker) noAnswer(ctx context.Context, desired husk.DesiredPod, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(cause, errNewState) {
		w.poke()
		return nil
	}
	if _, running, err := w.agent.vms.Find(ctx, w.id); err != nil || !running {
		return errors.Join(errors.New("the machine has ended"), err)
	}
	if time.Now().Before(w.answerBy()) {
		return w.cannotStart(desired, "its guest does not respond yet", fmt.Errorf("cannot talk to the guest: %w", cause))
	}
	w.rec.Silent = true // machineDied reports it
	return errors.Join(fmt.Errorf("the guest does not respond: %w", cause), w.save(), w.agent.vms.Destroy(ctx, w.id))
}

var errNewState = errors.New("the desired state has changed")

// dial connects to the guest's channel and waits until husk-init responds.
func (w *worker) dial(ctx context.Context, domain vm.Domain) (*guest.Client, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := connect(ctx, domain.Channel, w.wake)
	if errors.Is(err, errNewState) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open the guest channel: %w", err)
	}
	type dialed struct {
		client *guest.Client
		err    error
	}
	result := make(chan dialed, 1)
	go func() {
		client, err := guest.Dial(ctx, conn)
		result <- dialed{client, err}
	}()
	select {
	case r := <-result:
		return r.client, r.err
	case <-w.wake: // a pod may be deleted while it boots
		cancel()
		if r := <-result; r.client != nil {
			return nil, errors.Join(errNewState, r.client.Close())
		}
		return nil, errNewState
	}
}
