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
	// stopMargin is how long a guest may take beyond the grace period to unmount and power off, before the plug is pulled.
	stopMargin = 20 * time.Second
	// dialTimeout is how long a guest that is known to be up may take to answer a new agent.
	dialTimeout = 30 * time.Second
)

// keepUp brings the machine up, or adopts the one that runs, and stays with it until it ends or the order changes.
func (w *worker) keepUp(ctx context.Context, order husk.DesiredPod) error {
	port, err := portOf(order)
	if err != nil {
		return err
	}
	domain, running, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return err
	}
	w.adopted = running
	if err := w.agent.book(ctx, w.id, running); err != nil {
		return err
	}
	// Also for a machine that runs: a restarted agent knows no ports yet.
	if err := w.agent.net.Attach(port); err != nil {
		return err
	}
	if !running && w.rec.Started {
		if over, err := w.machineDied(ctx, order); over || err != nil {
			return err
		}
	}
	if !running {
		if domain, err = w.start(ctx, order, port); err != nil {
			w.report(order, husk.EventStarting, "StartFailed", "the machine cannot be started on its node at the moment; this is tried again", nil)
			return err
		}
	} else if !w.rec.Started {
		w.rec.Started = true // the agent died between the start and the note of it
		if err := w.save(); err != nil {
			return err
		}
	}
	if err := w.limitMemory(ctx, order); err != nil {
		return err
	}
	return w.attend(ctx, order, domain)
}

func (w *worker) limitMemory(ctx context.Context, order husk.DesiredPod) error {
	return w.agent.vms.LimitMemory(ctx, w.id, order.Resources.MemoryMiB+order.VMMOverheadMiB)
}

// uphold sees to it that what stands around a machine that runs is as it should be, whoever has changed it.
func (w *worker) uphold(ctx context.Context, order husk.DesiredPod) error {
	port, err := portOf(order)
	if err != nil {
		return err
	}
	if err := w.agent.net.Attach(port); err != nil {
		return err
	}
	return w.limitMemory(ctx, order)
}

// machineDied decides what follows when the machine has ended by itself. over is true when the pod is.
func (w *worker) machineDied(ctx context.Context, order husk.DesiredPod) (over bool, err error) {
	w.agent.metrics.deaths.Inc()
	if order.RestartPolicy == husk.RestartNever {
		return true, w.end(order, husk.EventFailed, "MachineDied", "the virtual machine ended by itself: the guest crashed, or the node went down", nil)
	}
	w.rec.Started, w.rec.Restarts = false, w.rec.Restarts+1
	w.rec.Timeline.RunningAt, w.rec.Timeline.GuestReadyAt = nil, nil
	if err := w.save(); err != nil {
		return false, err
	}
	delay := restartDelay(w.rec.Restarts)
	w.log.Warn("the machine died", "restarts", w.rec.Restarts, "again_in", delay)
	w.report(order, husk.EventStarting, "MachineDied", "the virtual machine ended by itself; it is started again", nil)
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-w.wake: // a new order; the next round decides anew
		w.poke()
		return true, nil
	case <-time.After(delay):
		return false, nil
	}
}

// restartDelay is the wait before the nth start of a machine that died: 0, then 1 s doubled up to 5 minutes, as for containers.
func restartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(time.Second<<min(n-2, 20), 5*time.Minute)
}

func (w *worker) start(ctx context.Context, order husk.DesiredPod, port network.Port) (vm.Domain, error) {
	spec, err := machineSpec(order, port, w.agent.net.MTU())
	if err != nil {
		return vm.Domain{}, err
	}
	w.rec.Timeline = husk.Timeline{DomainStartingAt: now()}
	w.report(order, husk.EventStarting, "", "", nil)
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

// attend speaks with the guest until it ends, the connection breaks, or the order changes.
func (w *worker) attend(ctx context.Context, order husk.DesiredPod, domain vm.Domain) error {
	timeout := dialTimeout
	if w.rec.Timeline.GuestReadyAt == nil {
		timeout = w.agent.cfg.BootTimeout
	}
	client, err := w.dial(ctx, domain, min(timeout, bootBurst))
	if timeout > bootBurst && errors.Is(err, context.DeadlineExceeded) {
		if err := w.agent.vms.LimitCPU(ctx, w.id, order.Resources.CPUMillis); err != nil {
			return err
		}
		client, err = w.dial(ctx, domain, timeout-bootBurst)
	}
	if err != nil {
		return w.noAnswer(ctx, order, err)
	}
	defer client.Close() //nolint:errcheck // the session is over either way
	if w.rec.Timeline.GuestReadyAt == nil {
		w.rec.Timeline.GuestReadyAt = now()
	}
	status, err := w.handOver(ctx, client, order)
	if err != nil {
		if call, ok := errors.AsType[*guest.CallError](err); ok && call.Code == guest.CodeInvalid {
			return w.end(order, husk.EventFailed, "GuestRefused", call.Message, nil)
		}
		return fmt.Errorf("hand the pod to its guest: %w", err)
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
	return w.watch(ctx, order, client, status, &pumps)
}

// bootBurst is how long a machine may use its processors whole while it boots, before it is held to the pod's share. A kernel boots
// in about two seconds of one core; a pod of a tenth of a core would take twenty. A guest that does not finish gains this much per start.
const bootBurst = 20 * time.Second

// handOver gives the guest its pod, unless an agent before this one has.
func (w *worker) handOver(ctx context.Context, client *guest.Client, order husk.DesiredPod) (guest.Status, error) {
	if w.adopted { // a machine of our own is asked nothing: the round trip counts
		hello, err := client.Hello(ctx)
		if err != nil {
			return guest.Status{}, err
		}
		if hello.Started {
			return client.WaitStatus(ctx, 0, time.Second)
		}
	}
	spec, err := guestSpec(order, w.agent.net.MTU())
	if err != nil {
		return guest.Status{}, err
	}
	return client.Start(ctx, spec)
}

// watch follows the guest's status and passes it on.
func (w *worker) watch(ctx context.Context, order husk.DesiredPod, client *guest.Client, status guest.Status, pumps *sync.WaitGroup) error {
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
		if done, err := w.apply(order, status); done {
			return err
		}
		if w.rec.Timeline.RunningAt != nil && !held {
			if err := w.agent.vms.LimitCPU(ctx, w.id, order.Resources.CPUMillis); err != nil {
				return err
			}
			held = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-burst:
			if err := w.agent.vms.LimitCPU(ctx, w.id, order.Resources.CPUMillis); err != nil {
				return err
			}
			held = true
		case status = <-updates:
		case err := <-failed:
			return fmt.Errorf("lost the guest: %w", err) // the next round finds out whether the machine still runs
		case <-w.wake:
			// It is looked at every pod whenever one of the node's has changed, and every now and then. The channel, and the sessions on it,
			// end only for a change of this one.
			if now, parking := w.current(); !parking && reflect.DeepEqual(now, order) {
				if err := w.uphold(ctx, order); err != nil {
					return err
				}
				continue
			}
			w.poke()
			return nil // the next round takes the new order
		}
	}
}

// apply passes one status on. done is true when the guest has nothing more to say.
func (w *worker) apply(order husk.DesiredPod, s guest.Status) (done bool, err error) {
	containers := containerStatuses(s.Containers)
	switch s.Phase {
	case guest.PhaseSucceeded:
		w.drain()
		return true, w.end(order, husk.EventSucceeded, "Completed", "", containers)
	case guest.PhaseFailed:
		w.drain()
		reason, message := failureOf(s)
		return true, w.end(order, husk.EventFailed, reason, message, containers)
	case guest.PhaseRunning:
		if allRunning(s.Containers) && w.rec.Timeline.RunningAt == nil {
			w.rec.Timeline.RunningAt = now()
			w.agent.metrics.starts.Observe(time.Since(*w.startedAt()).Seconds())
			if err := w.save(); err != nil {
				return true, err
			}
		}
		if w.rec.Timeline.RunningAt != nil {
			w.report(order, husk.EventRunning, "", "", containers)
			return false, nil
		}
	}
	w.report(order, husk.EventStarting, "", "", containers)
	return false, nil
}

func (w *worker) startedAt() *time.Time {
	if t := w.rec.Timeline.DomainStartingAt; t != nil {
		return t
	}
	return w.rec.Timeline.GuestReadyAt
}

// drainTime is how long the last lines of a pod that has ended may take to arrive, and the ends of its sessions; drainLook is how often it is
// looked whether they have.
const (
	drainTime = 2 * time.Second
	drainLook = 10 * time.Millisecond
)

// drain waits until the pumps have caught up, so that the last words of a failed pod are kept, and until who is in a session with it has its
// exit code.
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

// noAnswer decides what a guest means that does not come up: its machine has ended, or it hangs and is ended here.
func (w *worker) noAnswer(ctx context.Context, order husk.DesiredPod, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(cause, errNewOrder) {
		w.poke()
		return nil
	}
	if _, running, err := w.agent.vms.Find(ctx, w.id); err != nil || !running {
		return errors.Join(errors.New("the machine has ended"), err)
	}
	w.report(order, husk.EventStarting, "GuestSilent", "the guest does not answer; its machine is started again", nil)
	return errors.Join(fmt.Errorf("the guest does not answer: %w", cause), w.agent.vms.Destroy(ctx, w.id))
}

var errNewOrder = errors.New("there is a new order")

// dial connects to the guest's channel and waits until husk-init answers.
func (w *worker) dial(ctx context.Context, domain vm.Domain, timeout time.Duration) (*guest.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := connect(ctx, domain.Channel, w.wake)
	if errors.Is(err, errNewOrder) {
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
			return nil, errors.Join(errNewOrder, r.client.Close())
		}
		return nil, errNewOrder
	}
}

// endMachine stops the machine: the guest is asked, and after grace and margin the plug is pulled. It returns when there is no
// machine, at once when there was none.
func (w *worker) endMachine(ctx context.Context, grace time.Duration) error {
	domain, running, err := w.agent.vms.Find(ctx, w.id)
	if err != nil {
		return err
	}
	if running {
		w.agent.count(w.id)
		if err := w.askToStop(ctx, domain, grace); err != nil {
			w.log.Warn("the guest does not stop; pulling the plug", "error", err)
		}
	}
	if err := w.agent.vms.Destroy(ctx, w.id); err != nil {
		return err
	}
	return errors.Join(w.agent.book(ctx, w.id, false), w.agent.net.Detach(w.id))
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
	defer client.Close() //nolint:errcheck // the session is over either way
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
