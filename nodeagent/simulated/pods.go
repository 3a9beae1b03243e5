// SPDX-License-Identifier: Apache-2.0

package simulated

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/reports"
)

// trafficEvery is how often a real agent reports a usage interval if only its traffic has changed.
const trafficEvery = time.Minute

// pods are the pods of one node.
type pods struct {
	bootTime time.Duration
	queue    *reports.Queue
	wake     chan struct{} // a report is pending

	mu   sync.Mutex
	pods map[uuid.UUID]*pod
	runs []husk.MachineRun // changes that the server has not recorded
}

// pod is one pod. Its machine runs from started on, unless it is zero.
type pod struct {
	desired husk.DesiredPod
	started time.Time
	running bool
	traffic time.Time // when its traffic was last reported
	cancel  func() bool
}

func newPods(bootTime time.Duration) *pods {
	return &pods{bootTime: bootTime, queue: reports.NewQueue(), wake: make(chan struct{}, 1), pods: map[uuid.UUID]*pod{}}
}

func (p *pods) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pods) count() (running, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.pods {
		if one.running {
			running++
		}
	}
	return running, len(p.pods)
}

// machines returns how many machines there are, including those that start.
func (p *pods) machines() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.pods {
		if !one.started.IsZero() {
			n++
		}
	}
	return n
}

// apply brings the pods to the desired state.
func (p *pods) apply(state husk.DesiredState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.signal()
	named := make(map[uuid.UUID]bool, len(state.Pods))
	for _, d := range state.Pods {
		named[d.ID] = true
		one, ok := p.pods[d.ID]
		if !ok {
			one = &pod{}
			p.pods[d.ID] = one
		}
		p.set(one, d)
	}
	for id, one := range p.pods {
		if !named[id] {
			p.stop(one)
			p.queue.Forget(id)
			delete(p.pods, id)
		}
	}
}

// set brings one pod to its desired state. A state that it does not know changes nothing.
func (p *pods) set(one *pod, d husk.DesiredPod) {
	if d.Placement != one.desired.Placement { // what is left of an earlier placement ends first
		p.stop(one)
	}
	one.desired = d
	switch d.State {
	case husk.DesiredRunning, husk.DesiredIncoming:
		if d.From != nil {
			return // it cannot move memory
		}
		if one.started.IsZero() {
			p.start(one)
		}
		p.report(one)
	case husk.DesiredFinished:
		p.stop(one)
	case husk.DesiredGone:
		p.stop(one)
		p.queue.Set(husk.PodReport{PodID: d.ID, Placement: d.Placement, Generation: d.Generation, Event: husk.EventGone, Containers: []husk.ContainerStatus{}})
	}
}

func (p *pods) start(one *pod) {
	one.started = time.Now().UTC().Truncate(time.Microsecond)
	p.runs = append(p.runs, husk.MachineRun{PodID: one.desired.ID, StartedAt: one.started})
	one.cancel = time.AfterFunc(p.bootTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if one.started.IsZero() {
			return // stopped meanwhile
		}
		one.running = true
		p.report(one)
		p.signal()
	}).Stop
}

func (p *pods) stop(one *pod) {
	if one.started.IsZero() {
		return
	}
	one.cancel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	run := one.run(now)
	run.StoppedAt = &now
	p.runs = append(p.runs, run)
	one.started, one.running = time.Time{}, false
}

// run returns the usage interval so far. The pod receives and sends a fixed number of bytes per second.
func (one *pod) run(now time.Time) husk.MachineRun {
	bytes := int64(now.Sub(one.started).Seconds() * bytesPerSecond)
	return husk.MachineRun{PodID: one.desired.ID, StartedAt: one.started, Traffic: husk.Traffic{ReceivedBytes: bytes, SentBytes: bytes}}
}

func (p *pods) report(one *pod) {
	d := one.desired
	r := husk.PodReport{PodID: d.ID, Placement: d.Placement, Generation: d.Generation, Event: husk.EventStarting, Containers: []husk.ContainerStatus{}, DomainStartingAt: &one.started, DomainStartedAt: &one.started}
	if one.running {
		ready := one.started.Add(p.bootTime)
		r.Event, r.GuestReadyAt, r.RunningAt = husk.EventRunning, &ready, &ready
		for _, c := range d.Containers {
			r.Containers = append(r.Containers, husk.ContainerStatus{Name: c.Name, State: "Running", Ready: new(true), StartedAt: &ready})
		}
	}
	p.queue.Set(r)
}

// takeRuns returns the usage intervals to report, and forgets them. giveBack undoes that.
func (p *pods) takeRuns(now time.Time) []husk.MachineRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.runs
	p.runs = nil
	for _, one := range p.pods {
		if one.running && now.Sub(one.traffic) >= trafficEvery {
			one.traffic = now
			taken = append(taken, one.run(now))
		}
	}
	return taken
}

func (p *pods) giveBack(runs []husk.MachineRun) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = append(slices.Clip(runs), p.runs...)
}

// What a simulated pod uses per second.
const (
	bytesPerSecond   = 1000
	packetsPerSecond = 2
	cpuPerSecond     = 20 * time.Millisecond
)

// samples returns a sample of each pod that runs.
func (p *pods) samples(now time.Time) []husk.PodSample {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]husk.PodSample, 0, len(p.pods))
	for id, one := range p.pods {
		if !one.running {
			continue
		}
		seconds := now.Sub(one.started).Seconds()
		of := func(perSecond float64) int64 { return int64(seconds * perSecond) }
		memory := int64(one.desired.Resources.MemoryMiB) << 20
		all = append(all, husk.PodSample{
			PodID: id, CPUNanos: of(float64(cpuPerSecond)), CPUStealNanos: new(of(float64(cpuPerSecond) / 10)), MachineBytes: &memory,
			NetworkReceiveBytes: of(bytesPerSecond), NetworkReceivePackets: of(packetsPerSecond), NetworkTransmitBytes: of(bytesPerSecond), NetworkTransmitPackets: of(packetsPerSecond),
			DiskReadBytes: of(bytesPerSecond), DiskReadOperations: of(packetsPerSecond), DiskWriteBytes: of(bytesPerSecond), DiskWriteOperations: of(packetsPerSecond),
			Guest: &husk.GuestSample{MemoryUsedBytes: memory / 2, MemoryCachedBytes: memory / 4, CPUPressure: new(12), MemoryPressure: new(0), IOPressure: new(3)},
		})
	}
	return all
}
