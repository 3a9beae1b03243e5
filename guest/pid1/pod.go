// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"husk/guest"
)

const (
	// abortGrace is the grace period of the other containers when the pod has failed because one of
	// them can never start.
	abortGrace = 10 * time.Second
	// lastWord is how long a stopped guest waits for a host to read the final status before it
	// powers off.
	lastWord = 3 * time.Second
	// lastOutputs is how long a stopped guest waits for an agent and attached clients to read the
	// last output of its containers. lastLook is how often it checks.
	lastOutputs = 5 * time.Second
	lastLook    = 10 * time.Millisecond
	// lastBytes is the time for the last response to leave the VM after the host has confirmed that
	// it has read the status.
	lastBytes = 50 * time.Millisecond
)

// pod is the only pod of this boot. It implements guest.Handler.
type pod struct {
	machine machine
	hello   func() guest.Hello
	bootID  string

	updates sync.Mutex // one update at a time; locked before mu

	mu        sync.Mutex
	status    guest.Status
	changed   chan struct{} // closed and replaced at every change
	canonical []byte        // the spec; nil until started
	spec      guest.Spec
	stdio     map[string]*stdio
	running   map[string]*run          // by container, while it runs
	started   map[string]chan struct{} // by container, closed when it has started for the first time
	stopping  bool
	stop      chan struct{} // closed when no container may be started any more
	over      chan struct{} // closed when all containers except the sidecars have ended for good
	expired   bool          // the pod's deadline has passed
	killTimer *time.Timer
	killAt    time.Time
	prepared  chan struct{} // closed when the machine is prepared
	idle      chan struct{} // closed when every container has ended for good
	delivered chan struct{} // closed when a host has read the final status
	clockSets uint64        // how many times the clock was corrected
}

func newPod(m machine, bootID string, hello func() guest.Hello) *pod {
	idle := make(chan struct{})
	close(idle)
	return &pod{
		machine: m, hello: hello, bootID: bootID,
		status:    guest.Status{Revision: 1, BootID: bootID, Phase: guest.PhaseWaiting},
		changed:   make(chan struct{}),
		stdio:     map[string]*stdio{},
		running:   map[string]*run{},
		started:   map[string]chan struct{}{},
		stop:      make(chan struct{}),
		over:      make(chan struct{}),
		prepared:  make(chan struct{}),
		idle:      idle,
		delivered: make(chan struct{}),
	}
}

func (p *pod) Hello() guest.Hello {
	h := p.hello()
	p.mu.Lock()
	defer p.mu.Unlock()
	h.Protocol, h.BootID, h.Started = guest.ProtocolVersion, p.bootID, p.canonical != nil
	return h
}

func (p *pod) Start(spec guest.Spec) (guest.Status, error) {
	canonical, err := spec.Canonical()
	if err != nil {
		return guest.Status{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.canonical != nil {
		if !bytes.Equal(p.canonical, canonical) {
			return guest.Status{}, &guest.CallError{Code: guest.CodeConflict, Message: "another spec was already started in this boot"}
		}
		return p.snapshot(), nil
	}
	if p.stopping {
		return guest.Status{}, &guest.CallError{Code: guest.CodeStopping, Message: "the guest is stopping"}
	}
	p.canonical, p.spec = canonical, spec
	p.spec.Containers = slices.Clone(spec.Containers) // Update changes environments
	for _, c := range spec.Containers {
		p.status.Containers = append(p.status.Containers, guest.ContainerStatus{Name: c.Name, State: guest.StateWaiting})
		p.stdio[c.Name], p.started[c.Name] = newStdio(), make(chan struct{})
	}
	p.publish()
	p.idle = make(chan struct{})
	go p.live(spec)
	return p.snapshot(), nil
}

// updateWait is how long an update waits for the machine to be prepared. It is shorter than a call.
const updateWait = 10 * time.Second

// Update replaces values of the pod. Containers get a changed environment when they are started
// again.
func (p *pod) Update(ctx context.Context, values guest.Values) error {
	p.updates.Lock()
	defer p.updates.Unlock()
	if err := p.setEnv(values); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, updateWait)
	defer cancel()
	select {
	case <-p.prepared:
	case <-p.stop:
		return &guest.CallError{Code: guest.CodeStopping, Message: "the guest is stopping"}
	case <-ctx.Done():
		return &guest.CallError{Code: guest.CodeFailed, Message: "the machine is not prepared yet; send the values again"}
	}
	for _, name := range slices.Sorted(maps.Keys(values.Files)) {
		if err := p.machine.update(name, values.Files[name]); err != nil {
			return &guest.CallError{Code: guest.CodeFailed, Message: fmt.Sprintf("volume %s: %v", name, err)}
		}
	}
	return nil
}

func (p *pod) setEnv(values guest.Values) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.canonical == nil {
		return &guest.CallError{Code: guest.CodeConflict, Message: "no spec was started in this boot"}
	}
	if err := values.Check(&p.spec); err != nil {
		return &guest.CallError{Code: guest.CodeInvalid, Message: err.Error()}
	}
	for i := range p.spec.Containers {
		if env, ok := values.Env[p.spec.Containers[i].Name]; ok {
			p.spec.Containers[i].Env = env
		}
	}
	return nil
}

// env returns the environment that a container gets when it is started now.
func (p *pod) env(i int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spec.Containers[i].Env
}

// live runs the pod: it prepares the machine, then supervises every container until it has ended
// for good.
func (p *pod) live(spec guest.Spec) {
	defer close(p.idle)
	defer func() {
		for _, s := range p.stdio {
			s.close()
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-p.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := p.machine.prepare(ctx, spec); err != nil {
		p.update(func() {
			if !p.stopping {
				p.status.Phase, p.status.Error = guest.PhaseFailed, err.Error()
			}
		})
		return
	}
	close(p.prepared)
	p.update(func() {
		if !p.stopping {
			p.status.Phase = guest.PhaseRunning
		}
	})
	if spec.DeadlineMillis > 0 {
		deadline := time.AfterFunc(time.Duration(spec.DeadlineMillis)*time.Millisecond, p.expire)
		defer deadline.Stop()
	}
	p.runAll(spec)
	p.update(func() {
		switch {
		case p.status.Phase != guest.PhaseRunning:
		case p.expired:
			p.status.Phase, p.status.Reason = guest.PhaseFailed, guest.ReasonDeadline
			p.status.Error = "the pod ran longer than its deadline allows"
		default:
			p.status.Phase = outcome(spec.Containers, p.status.Containers)
		}
	})
}

// expire ends the pod because its deadline has passed.
func (p *pod) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.over: // it has ended by itself
		return
	default:
	}
	if !p.stopping {
		p.expired = true
		p.endContainers(p.grace())
	}
}

// grace returns the grace period of the pod's spec.
func (p *pod) grace() time.Duration { return time.Duration(p.spec.GraceMillis) * time.Millisecond }

// outcome returns the phase of a pod whose containers have all ended for good. How a sidecar ended
// does not matter.
func outcome(containers []guest.Container, statuses []guest.ContainerStatus) string {
	for i, s := range statuses {
		if !containers[i].Sidecar() && (s.State != guest.StateExited || failed(s)) {
			return guest.PhaseFailed
		}
	}
	return guest.PhaseSucceeded
}

// failed reports whether a run ended badly. One that husk-init ended because of a probe or a hook did,
// whatever its exit code.
func failed(s guest.ContainerStatus) bool {
	return s.ExitCode != 0 || s.Reason == guest.ReasonUnhealthy || s.Reason == guest.ReasonHookFailed
}

// update changes the status and notifies those that wait for it.
func (p *pod) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.publish()
}

func (p *pod) publish() {
	p.status.Revision++
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pod) snapshot() guest.Status {
	s := p.status
	s.Containers = slices.Clone(s.Containers)
	return s
}

func (p *pod) WaitStatus(ctx context.Context, after uint64) guest.Status {
	for {
		p.mu.Lock()
		s, changed := p.snapshot(), p.changed
		p.mu.Unlock()
		if s.Revision > after {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s
		}
	}
}

func (p *pod) Delivered(revision uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Stopped && revision == p.status.Revision {
		select {
		case <-p.delivered:
		default:
			close(p.delivered)
		}
	}
}

func (p *pod) Logs(ctx context.Context, container string, after uint64, follow bool, emit func([]guest.LogEntry) error) error {
	p.mu.Lock()
	s := p.stdio[container]
	p.mu.Unlock()
	if s == nil {
		return &guest.CallError{Code: guest.CodeNotFound, Message: fmt.Sprintf("no container %q", container)}
	}
	return s.log.CopyTo(ctx, after, follow, emit)
}

// Stop ends everything in the background. The status stays available until the end.
func (p *pod) Stop(grace time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.stopping
	if first {
		p.stopping = true
		if p.status.Phase == guest.PhaseWaiting || p.status.Phase == guest.PhaseRunning {
			p.status.Phase = guest.PhaseStopping
		}
		p.publish()
	}
	p.endContainers(grace)
	if first {
		go p.shutDown(p.idle)
	}
	return nil
}

// deliver waits until the containers' last output has been sent to the agent and to attached clients,
// if they read it.
func (p *pod) deliver() {
	look := time.NewTicker(lastLook)
	defer look.Stop()
	for deadline := time.Now().Add(lastOutputs); time.Now().Before(deadline); <-look.C {
		p.mu.Lock()
		all := true
		for _, s := range p.stdio {
			all = all && s.delivered()
		}
		p.mu.Unlock()
		if all {
			return
		}
	}
}

func (p *pod) shutDown(idle <-chan struct{}) {
	<-idle
	err := p.machine.release()
	p.deliver()
	p.update(func() {
		p.killTimer.Stop()
		if err != nil {
			p.status.Error = err.Error()
		}
		p.status.Stopped = true
	})
	select {
	case <-p.delivered:
		<-time.After(lastBytes)
	case <-time.After(lastWord):
	}
	p.machine.powerOff()
}

// AdjustClock adds a duration to the machine's clock, if it was corrected this many times before.
func (p *pod) AdjustClock(by time.Duration, sets uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clockSets != sets {
		return &guest.CallError{Code: guest.CodeConflict, Message: "the clock was corrected meanwhile"}
	}
	if err := p.machine.adjustClock(by); err != nil {
		return err
	}
	p.clockSets++
	return nil
}

// Freeze freezes a volume's file system.
func (p *pod) Freeze(serial string) error { return p.machine.freeze(serial) }

// Thaw ends that.
func (p *pod) Thaw(serial string) error { return p.machine.thaw(serial) }

// Resize uses so many CPUs, and memory that the machine gets.
func (p *pod) Resize(ctx context.Context, cpus int) error { return p.machine.resize(ctx, cpus) }

// Grow makes a volume's file system as large as its disk.
func (p *pod) Grow(ctx context.Context, serial string, size int64) error {
	return p.machine.grow(ctx, serial, size)
}
