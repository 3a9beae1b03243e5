// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"husk"
	"husk/guest"
	"husk/nodeagent/network"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
)

const (
	// stopMargin is how long a guest may take beyond the grace period to unmount and power off,
	// before its domain is destroyed.
	stopMargin = 20 * time.Second
)

// keepUp starts the machine, or adopts the running one, and follows it until it ends or the desired
// state changes.
func (w *worker) keepUp(ctx context.Context, desired husk.DesiredPod) error {
	ports, err := translate.Ports(desired)
	if err != nil {
		return err
	}
	domain, running, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return w.cannotStart(desired, "libvirt on its node does not respond", err)
	}
	w.adopted = running
	if err := w.recordUsage(ctx, desired, running); err != nil {
		return err
	}
	// A running machine needs this too: a restarted agent has no ports yet.
	if err := w.agent.net.Attach(ctx, ports...); err != nil {
		return w.cannotStart(desired, "its node cannot set up its network", err)
	}
	if !running && w.rec.Started {
		if over, err := w.machineDied(desired); over || err != nil {
			return err
		}
	}
	if !running && w.writes(desired) && !w.agent.lease.MayWrite() {
		w.awaitLease(ctx, desired)
		return ctx.Err()
	}
	if !running && desired.ValuesError != "" {
		return w.cannotStart(desired, desired.ValuesError, errors.New(desired.ValuesError))
	}
	if !running && !w.awaitStart(ctx) {
		w.poke() // the next round decides again what to do
		return ctx.Err()
	}
	if !running {
		if domain, err = w.start(ctx, desired, ports); err != nil {
			return w.cannotStart(desired, "its node cannot start its virtual machine", err)
		}
		w.size.Start(desired, w.shareMiB(desired), *w.rec.Size, true)
	} else if !w.rec.Started || w.rec.Timeline.DomainStartedAt == nil { // the agent crashed between the start, or the arrival, and recording it
		w.rec.Started = true
		if w.rec.Timeline.DomainStartedAt == nil { // servers tell machines apart by it
			w.rec.Timeline.DomainStartedAt = now()
			if at, known := w.agent.usage.StartOf(w.id); known {
				w.rec.Timeline.DomainStartedAt = &at
			}
		}
		if err := w.save(); err != nil {
			return err
		}
	}
	if running {
		has, settled := husk.Resources{MemoryMiB: domain.MemoryMiB - w.shareMiB(desired)}, false
		if w.rec.Size != nil { // otherwise an earlier agent has started it, or it has come from another node: its cpu is not known
			has.CPUMillis, settled = w.rec.Size.CPUMillis, !w.rec.Resizing
		}
		w.size.Start(desired, w.shareMiB(desired), has, settled)
	}
	if !w.moving.Load() {
		if err := w.limitMemory(ctx); err != nil {
			return err
		}
	}
	if err := w.steer(desired); err != nil {
		return err
	}
	return w.attend(ctx, desired, domain)
}

// recordUsage updates the usage intervals. While the pod still runs on another node, only that one has an interval.
func (w *worker) recordUsage(ctx context.Context, desired husk.DesiredPod, running bool) error {
	size := w.rec.Size
	if size == nil || !w.rec.Started {
		size = &desired.Resources
	}
	return w.agent.recordUsage(ctx, w.id, running && desired.State != husk.DesiredIncoming, size)
}

// awaitLease waits until the node may start machines that write volumes, or the desired state changes.
func (w *worker) awaitLease(ctx context.Context, desired husk.DesiredPod) {
	const step = "its node has lost the server, and the pod may be started on another node"
	_ = w.cannotStart(desired, step, nil) //nolint:errcheck // it only reports
	select {
	case <-ctx.Done():
	case <-w.wake:
	}
	w.poke() // the next round decides again what to do
}

// writes reports whether the pod's machine writes volumes.
func (*worker) writes(desired husk.DesiredPod) bool {
	return slices.ContainsFunc(desired.Disks, func(d husk.DesiredDisk) bool { return !d.ReadOnly })
}

// cannotStart reports which step of a pod's start has failed, and returns the error. The error itself
// has details of the node, which are not for tenants.
func (w *worker) cannotStart(desired husk.DesiredPod, step string, err error) error {
	if w.rec.Timeline.RunningAt == nil && w.ctx.Err() == nil {
		w.rec.Reason, w.rec.Message = "StartFailed", "the pod cannot start at the moment, because "+step+"; the node retries"
		w.report(desired, husk.EventStarting, "", "", nil)
	}
	return err
}

func (w *worker) limitMemory(ctx context.Context) error {
	return w.agent.vms.LimitMemory(ctx, w.id, w.size.LimitMiB())
}

// shareMiB returns what the machine has in addition to the pod's memory.
func (w *worker) shareMiB(desired husk.DesiredPod) int {
	return translate.ShareMiB(desired, w.agent.cfg.OverheadMiB)
}

// resized records a change of the machine's size: for the ledger, and then so that it is not recorded again.
func (w *worker) resized() error {
	has, was := w.size.Has(), w.rec.Size
	if was == nil {
		was = &has
	}
	w.agent.count(w.id)
	if err := w.agent.usage.Resize(w.id, *was, has, time.Now()); err != nil {
		return err
	}
	w.agent.reports.signal()
	w.rec.Size, w.rec.Resizing = &has, !w.size.Settled()
	return w.save()
}

// resize begins to change the size of the machine. That is recorded first: an agent that is started meanwhile then asks the machine again.
func (w *worker) resize(size husk.Resources) error {
	w.size.Want(size)
	if !w.size.Settled() && !w.rec.Resizing {
		w.rec.Resizing = true
		if err := w.save(); err != nil {
			return err
		}
	}
	w.machine.Wake()
	return nil
}

// machineDied decides what to do after the machine has ended by itself, or was ended because its
// guest was silent. over is true if the pod has ended too.
func (w *worker) machineDied(desired husk.DesiredPod) (over bool, err error) {
	w.agent.metrics.deaths.Inc()
	reason, message := "MachineDied", "the virtual machine ended by itself: the guest crashed, or the node went down"
	switch {
	case w.rec.Silent:
		reason, message = "GuestSilent", "the guest did not respond in time, and its virtual machine was stopped"
	case w.writes(desired) && w.agent.lease.Left() == 0:
		reason, message = "LeaseExpired", "its node has lost the server, so its virtual machine was stopped before the pod could be started on another node"
	}
	if desired.RestartPolicy == husk.RestartNever {
		return true, w.end(desired, husk.EventFailed, reason, message, nil)
	}
	w.rec.Started, w.rec.Silent, w.rec.Restarts = false, false, w.rec.Restarts+1
	w.rec.Reason, w.rec.Message = reason, message+"; it is started again"
	w.rec.Timeline.RunningAt, w.rec.Timeline.GuestReadyAt = nil, nil
	delay := w.rec.Life.Died(time.Now(), w.rec.Restarts)
	if err := w.save(); err != nil {
		return false, err
	}
	w.log.Warn("machine ended unexpectedly", "reason", reason, "restarts", w.rec.Restarts, "again_in", delay)
	w.report(desired, husk.EventStarting, "", "", nil)
	return false, nil
}

// awaitStart waits until the machine may be started. It returns false if it was woken before.
func (w *worker) awaitStart(ctx context.Context) bool {
	wait := w.rec.Life.StartIn(time.Now())
	if wait <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-time.After(wait):
		return true
	}
	return false
}

func (w *worker) start(ctx context.Context, desired husk.DesiredPod, ports []network.Port) (vm.Domain, error) {
	spec, err := translate.Machine(desired, ports, w.agent.net.MTU(), w.agent.cfg.OverheadMiB)
	if err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline = husk.Timeline{DomainStartingAt: now()}
	if w.rec.Life.Start(time.Now()) == 0 {
		spec.CPULimitMillis = desired.Resources.CPUMillis
	}
	if err := w.save(); err != nil { // before the start, so that no crash of the agent gives the pod another burst
		return vm.Domain{}, err
	}
	w.startedHere, w.silentSince = true, time.Time{}
	w.report(desired, husk.EventStarting, "", "", nil)
	if err := w.agent.net.Plug(ctx, ports...); err != nil {
		return vm.Domain{}, err
	}
	if err := w.agent.net.AwaitConnected(ctx, ports...); err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline.NetworkConnectedAt = now()
	domain, err := w.agent.vms.Start(ctx, spec)
	if err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline.DomainStartedAt = now()
	if desired.State != husk.DesiredIncoming {
		if err := w.agent.began(w.id, *w.rec.Timeline.DomainStartedAt, &desired.Resources); err != nil {
			return vm.Domain{}, err
		}
	}
	w.rec.Started, w.rec.Size, w.rec.Resizing = true, new(desired.Resources), false
	w.log.Info("machine started", "took", time.Since(*w.rec.Timeline.DomainStartingAt))
	return domain, w.save()
}

func now() *time.Time {
	t := time.Now().UTC()
	return &t
}

// endMachine stops the machine. It asks the guest, and destroys the domain after grace and margin.
// It returns once there is no machine.
func (w *worker) endMachine(ctx context.Context, grace time.Duration) error {
	domain, running, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return err
	}
	if running {
		w.agent.count(w.id)
		if err := w.askToStop(ctx, domain, grace); err != nil {
			w.log.Warn("guest does not stop; destroying its machine", "error", err)
		}
	}
	if err := w.agent.vms.Destroy(ctx, w.id); err != nil {
		return err
	}
	return errors.Join(w.agent.recordUsage(ctx, w.id, false, nil), w.agent.net.Detach(ctx, w.id))
}

func (w *worker) askToStop(ctx context.Context, domain vm.Domain, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+stopMargin)
	defer cancel()
	conn, err := connect(ctx, domain.Channel, nil)
	if err != nil {
		return err
	}
	dialCtx, stop := context.WithTimeout(ctx, stopMargin/2)
	defer stop()
	client, err := guest.Dial(dialCtx, conn)
	if err != nil {
		return fmt.Errorf("the guest does not respond: %w", err)
	}
	defer client.Close() //nolint:errcheck // the connection is no longer used
	if err := client.Stop(ctx, grace); err != nil {
		return err
	}
	// Reading the last status lets the guest power off at once.
	for revision := uint64(0); ; {
		s, err := client.WaitStatus(ctx, revision, stopMargin)
		if err != nil || s.Stopped {
			break
		}
		revision = s.Revision
	}
	return w.awaitOff(ctx)
}

// awaitOff waits until the machine has powered off.
func (w *worker) awaitOff(ctx context.Context) error {
	for {
		if _, running, err := w.agent.vms.Find(ctx, w.id); err != nil || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stopAttended stops a machine whose guest the worker is connected to, so that the last output of the
// containers reaches their logs, and attached clients get it and the exit codes. If that fails, the
// next round stops the machine all the same.
func (w *worker) stopAttended(ctx context.Context, client *guest.Client, updates <-chan guest.Status, failed <-chan error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var deadline <-chan time.Time
	ask := func() bool {
		desired, parking := w.current()
		grace := time.Duration(desired.GracePeriodSeconds) * time.Second
		if parking {
			grace = min(grace, nodeStopGrace)
		} else {
			w.report(desired, husk.EventStopping, "", "", nil)
		}
		deadline = time.After(grace + stopMargin)
		w.agent.count(w.id)
		if err := client.Stop(ctx, grace); err != nil {
			w.log.Warn("guest does not stop; its machine will be stopped without it", "error", err)
			return false
		}
		return true
	}
	for asked := ask(); asked; {
		select {
		case s := <-updates:
			if !s.Stopped {
				continue
			}
			w.agent.count(w.id)
			w.drain()
			off, done := context.WithTimeout(ctx, stopMargin/2)
			defer done()
			if err := w.awaitOff(off); err != nil {
				w.log.Warn("the stopped guest does not power off; destroying its machine", "error", err)
			}
			return
		case err := <-failed:
			w.log.Warn("lost the guest while it stops", "error", err)
			return
		case <-w.wake:
			asked = ask()
		case <-deadline:
			return
		case <-ctx.Done():
			return
		}
	}
}
