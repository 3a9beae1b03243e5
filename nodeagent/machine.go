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
	"husk/nodeagent/network"
	"husk/nodeagent/vm"
)

const (
	// stopMargin is how long a guest may take beyond the grace period to unmount and power off,
	// before its domain is destroyed.
	stopMargin = 20 * time.Second
	// dialTimeout is how long a running guest may take to respond to a new agent.
	dialTimeout = 30 * time.Second
)

// keepUp starts the machine, or adopts the running one, and follows it until it ends or the desired
// state changes.
func (w *worker) keepUp(ctx context.Context, desired husk.DesiredPod) error {
	port, err := portOf(desired)
	if err != nil {
		return err
	}
	domain, running, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return err
	}
	w.adopted = running
	if err := w.agent.recordUsage(ctx, w.id, running); err != nil {
		return err
	}
	// Also for a running machine: a restarted agent has no ports yet.
	if err := w.agent.net.Attach(port); err != nil {
		return err
	}
	if !running && w.rec.Started {
		if over, err := w.machineDied(ctx, desired); over || err != nil {
			return err
		}
	}
	if !running {
		if domain, err = w.start(ctx, desired, port); err != nil {
			w.report(desired, husk.EventStarting, "StartFailed", "the virtual machine cannot be started on its node at the moment; the node retries", nil)
			return err
		}
	} else if !w.rec.Started {
		w.rec.Started = true // the agent crashed between the start and recording it
		if err := w.save(); err != nil {
			return err
		}
	}
	if err := w.limitMemory(ctx, desired); err != nil {
		return err
	}
	return w.attend(ctx, desired, domain)
}

func (w *worker) limitMemory(ctx context.Context, desired husk.DesiredPod) error {
	return w.agent.vms.LimitMemory(ctx, w.id, desired.Resources.MemoryMiB+desired.VMMOverheadMiB)
}

// uphold restores the surroundings of a running machine, such as its network rules, if something
// has changed them.
func (w *worker) uphold(ctx context.Context, desired husk.DesiredPod) error {
	port, err := portOf(desired)
	if err != nil {
		return err
	}
	if err := w.agent.net.Attach(port); err != nil {
		return err
	}
	return w.limitMemory(ctx, desired)
}

// machineDied decides what to do after the machine has ended by itself. over is true if the pod has
// ended too.
func (w *worker) machineDied(ctx context.Context, desired husk.DesiredPod) (over bool, err error) {
	w.agent.metrics.deaths.Inc()
	if desired.RestartPolicy == husk.RestartNever {
		return true, w.end(desired, husk.EventFailed, "MachineDied", "the virtual machine ended by itself: the guest crashed, or the node went down", nil)
	}
	w.rec.Started, w.rec.Restarts = false, w.rec.Restarts+1
	w.rec.Timeline.RunningAt, w.rec.Timeline.GuestReadyAt = nil, nil
	if err := w.save(); err != nil {
		return false, err
	}
	delay := restartDelay(w.rec.Restarts)
	w.log.Warn("machine ended unexpectedly", "restarts", w.rec.Restarts, "again_in", delay)
	w.report(desired, husk.EventStarting, "MachineDied", "the virtual machine ended by itself; it is started again", nil)
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-w.wake: // a new desired state; the next round decides again
		w.poke()
		return true, nil
	case <-time.After(delay):
		return false, nil
	}
}

// restartDelay is the wait before the nth start of a machine that ended unexpectedly: 0, then 1 s,
// doubled up to 5 minutes, as for containers.
func restartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(time.Second<<min(n-2, 20), 5*time.Minute)
}

func (w *worker) start(ctx context.Context, desired husk.DesiredPod, port network.Port) (vm.Domain, error) {
	spec, err := machineSpec(desired, port, w.agent.net.MTU())
	if err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline = husk.Timeline{DomainStartingAt: now()}
	w.report(desired, husk.EventStarting, "", "", nil)
	domain, err := w.agent.vms.Start(ctx, spec)
	if err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline.DomainStartedAt = now()
	if err := w.agent.began(w.id, *w.rec.Timeline.DomainStartedAt); err != nil {
		return vm.Domain{}, err
	}
	w.rec.Started = true
	w.log.Info("machine started", "took", time.Since(*w.rec.Timeline.DomainStartingAt))
	return domain, w.save()
}

func now() *time.Time {
	t := time.Now().UTC()
	return &t
}

// attend talks to the guest until it ends, the connection breaks, or the desired state changes.
func (w *worker) attend(ctx context.Context, desired husk.DesiredPod, domain vm.Domain) error {
	timeout := dialTimeout
	if w.rec.Timeline.GuestReadyAt == nil {
		timeout = w.agent.cfg.BootTimeout
	}
	client, err := w.dial(ctx, domain, min(timeout, bootBurst))
	if timeout > bootBurst && errors.Is(err, context.DeadlineExceeded) {
		if err := w.agent.vms.LimitCPU(ctx, w.id, desired.Resources.CPUMillis); err != nil {
			return err
		}
		client, err = w.dial(ctx, domain, timeout-bootBurst)
	}
	if err != nil {
		return w.noAnswer(ctx, desired, err)
	}
	defer client.Close() //nolint:errcheck // the connection is no longer used
	if w.rec.Timeline.GuestReadyAt == nil {
		w.rec.Timeline.GuestReadyAt = now()
	}
	status, err := w.handOver(ctx, client, desired)
	if err != nil {
		if call, ok := errors.AsType[*guest.CallError](err); ok && call.Code == guest.CodeInvalid {
			return w.end(desired, husk.EventFailed, "GuestRefused", call.Message, nil)
		}
		return fmt.Errorf("send the pod to its guest: %w", err)
	}
	w.guest.Store(client)
	defer w.guest.Store(nil)
	ctx, cancel := context.WithCancel(ctx)
	var pumps sync.WaitGroup
	defer func() { cancel(); pumps.Wait() }()
	for name, log := range w.logs {
		log.begin()
		pumps.Go(func() { w.pump(ctx, client, status.BootID, name, log) })
	}
	return w.watch(ctx, desired, client, status, &pumps)
}

// bootBurst is how long a booting machine may use its processors without the pod's cpu limit. A
// kernel boots in about two seconds of one core, which would take a pod with a tenth of a core
// twenty. A guest that does not finish gains this much per start.
const bootBurst = 20 * time.Second

// handOver sends the pod to the guest, unless a previous agent has done so.
func (w *worker) handOver(ctx context.Context, client *guest.Client, desired husk.DesiredPod) (guest.Status, error) {
	if w.adopted { // a machine that was just started is not asked, which saves a round trip
		hello, err := client.Hello(ctx)
		if err != nil {
			return guest.Status{}, err
		}
		if hello.Started {
			return client.WaitStatus(ctx, 0, time.Second)
		}
	}
	spec, err := guestSpec(desired, w.agent.net.MTU())
	if err != nil {
		return guest.Status{}, err
	}
	return client.Start(ctx, spec)
}

// watch follows the guest's status and passes it on.
func (w *worker) watch(ctx context.Context, desired husk.DesiredPod, client *guest.Client, status guest.Status, pumps *sync.WaitGroup) error {
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
	burst := time.After(time.Until(w.startedAt().Add(bootBurst)))
	held := false
	for {
		if done, err := w.apply(desired, status); done {
			return err
		}
		if w.rec.Timeline.RunningAt != nil && !held {
			if err := w.agent.vms.LimitCPU(ctx, w.id, desired.Resources.CPUMillis); err != nil {
				return err
			}
			held = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-burst:
			if err := w.agent.vms.LimitCPU(ctx, w.id, desired.Resources.CPUMillis); err != nil {
				return err
			}
			held = true
		case status = <-updates:
		case err := <-failed:
			return fmt.Errorf("lost the guest: %w", err) // the next round finds out whether the machine still runs
		case <-w.wake:
			// Every pod is re-checked when any pod on the node changes, and periodically. The
			// channel and its streams end only if this pod has changed.
			if now, parking := w.current(); !parking && reflect.DeepEqual(now, desired) {
				if err := w.uphold(ctx, desired); err != nil {
					return err
				}
				continue
			}
			w.poke()
			return nil // the next round uses the new desired state
		}
	}
}

// apply passes on one status. done is true if no further status will follow.
func (w *worker) apply(desired husk.DesiredPod, s guest.Status) (done bool, err error) {
	containers := containerStatuses(s.Containers, desired)
	switch s.Phase {
	case guest.PhaseSucceeded:
		w.drain()
		return true, w.end(desired, husk.EventSucceeded, "Completed", "", containers)
	case guest.PhaseFailed:
		w.drain()
		reason, message := failureOf(s)
		return true, w.end(desired, husk.EventFailed, reason, message, containers)
	case guest.PhaseRunning:
		if allRunning(s.Containers) && w.rec.Timeline.RunningAt == nil {
			w.rec.Timeline.RunningAt = now()
			w.agent.metrics.starts.Observe(time.Since(*w.startedAt()).Seconds())
			if err := w.save(); err != nil {
				return true, err
			}
		}
		if w.rec.Timeline.RunningAt != nil {
			w.report(desired, husk.EventRunning, "", "", containers)
			return false, nil
		}
	}
	w.report(desired, husk.EventStarting, "", "", containers)
	return false, nil
}

func (w *worker) startedAt() *time.Time {
	if t := w.rec.Timeline.DomainStartingAt; t != nil {
		return t
	}
	return w.rec.Timeline.GuestReadyAt
}

// drainTime is how long the agent waits for the last lines of an ended pod, and for the ends of its
// streams. drainLook is how often it checks.
const (
	drainTime = 2 * time.Second
	drainLook = 10 * time.Millisecond
)

// drain waits until the pumps have caught up, so that the last output of a failed pod is stored,
// and until the clients of its streams have received their exit codes.
func (w *worker) drain() {
	deadline := time.After(drainTime)
	for _, l := range w.logs {
		select {
		case <-l.caughtUp():
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

func allRunning(containers []guest.ContainerStatus) bool {
	for _, c := range containers {
		if c.State == guest.StateWaiting && c.StartedAt.IsZero() {
			return false
		}
	}
	return len(containers) > 0
}

func failureOf(s guest.Status) (reason, message string) {
	if s.Error != "" {
		return "GuestError", s.Error
	}
	for _, c := range s.Containers {
		if c.State == guest.StateExited && c.ExitCode != 0 {
			if c.Message != "" {
				return c.Reason, fmt.Sprintf("container %s: %s", c.Name, c.Message)
			}
			return c.Reason, fmt.Sprintf("container %s ended with exit code %d", c.Name, c.ExitCode)
		}
	}
	return guest.ReasonError, ""
}

// noAnswer handles a guest that does not come up: its machine has ended, or it hangs and is
// destroyed here.
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
	w.report(desired, husk.EventStarting, "GuestSilent", "the guest does not answer; its virtual machine is started again", nil)
	return errors.Join(fmt.Errorf("the guest does not answer: %w", cause), w.agent.vms.Destroy(ctx, w.id))
}

var errNewState = errors.New("the desired state has changed")

// dial connects to the guest's channel and waits until husk-init responds.
func (w *worker) dial(ctx context.Context, domain vm.Domain, timeout time.Duration) (*guest.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
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

// endMachine stops the machine. It asks the guest, and destroys the domain after grace and margin.
// It returns when there is no machine; at once if there was none.
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
	return errors.Join(w.agent.recordUsage(ctx, w.id, false), w.agent.net.Detach(w.id))
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
		return fmt.Errorf("it does not answer: %w", err)
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
