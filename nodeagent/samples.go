// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/limits"
	"husk/nodeagent/vm"
	"husk/openapi"
)

const (
	// sampleEvery is how often all pods are sampled.
	sampleEvery = 10 * time.Second
	// guestPatience is how long a guest may take to respond, and guestsAtOnce is how many are asked
	// at the same time. So a guest that hangs delays the samples of other pods by at most
	// guestPatience.
	guestPatience = 2 * time.Second
	guestsAtOnce  = 32
	// samplesAtOnce is how many pods one report contains at most.
	samplesAtOnce = limits.SampleItems
)

// sampleLoop periodically reports the resource usage of the pods. A sample that cannot be reported
// in time is dropped.
func (a *Agent) sampleLoop(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		start := time.Now()
		samples, err := a.sample(ctx)
		for batch := range slices.Chunk(samples, samplesAtOnce) {
			if err == nil {
				err = a.server.samples(ctx, batch)
			}
		}
		a.metrics.samples.Observe(time.Since(start).Seconds())
		if err != nil && ctx.Err() == nil {
			a.log.Warn("samples not reported; sampling again", "error", err, "after", sampleEvery)
		}
	}
}

// sample reads the usage of all pods in one pass: of the machines in one call to libvirt, and of
// guestsAtOnce guests at the same time.
func (a *Agent) sample(ctx context.Context) ([]husk.PodSample, error) {
	machines, err := a.vms.Stats(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	workers := make([]*worker, 0, len(a.workers))
	for id, w := range a.workers {
		if _, runs := machines[id]; runs { // ignore machines of others on the same libvirt
			workers = append(workers, w)
		}
	}
	a.mu.Unlock()
	samples := make([]husk.PodSample, len(workers))
	var asking sync.WaitGroup
	turns := make(chan struct{}, guestsAtOnce)
	for i, w := range workers {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			samples[i] = sampleOf(w.id, machines[w.id])
			samples[i].Guest = w.askGuest(ctx)
		})
	}
	asking.Wait()
	return samples, nil
}

// askGuest returns nil if the guest does not respond. It also corrects the clock of the guest.
func (w *worker) askGuest(ctx context.Context) *husk.GuestSample {
	c := w.guest.Load()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	asked := time.Now()
	stats, err := c.Stats(ctx)
	if err != nil {
		return nil
	}
	w.setClock(ctx, c, stats, asked, time.Now())
	desired, _ := w.current()
	return guestSample(stats, desired)
}

func sampleOf(pod uuid.UUID, m vm.Stats) husk.PodSample {
	s := husk.PodSample{
		PodID: pod, CPUNanos: m.CPU.Nanoseconds(), MachineBytes: m.MachineBytes,
		NetworkReceiveBytes: m.Receive.Bytes, NetworkReceivePackets: m.Receive.Packets, NetworkReceiveErrors: m.Receive.Errors, NetworkReceiveDrops: m.Receive.Drops,
		NetworkTransmitBytes: m.Transmit.Bytes, NetworkTransmitPackets: m.Transmit.Packets, NetworkTransmitErrors: m.Transmit.Errors, NetworkTransmitDrops: m.Transmit.Drops,
		DiskReadBytes: m.ReadBytes, DiskReadOperations: m.Reads, DiskWriteBytes: m.WriteBytes, DiskWriteOperations: m.Writes,
	}
	if m.Steal != nil {
		nanos := m.Steal.Nanoseconds()
		s.CPUStealNanos = &nanos
	}
	return s
}

// guestSample takes only values that are possible for the pod: it cannot use more memory than it
// has, and has no containers other than those in its spec.
func guestSample(s guest.Stats, desired husk.DesiredPod) *husk.GuestSample {
	most, share := int64(desired.Resources.MemoryMiB)<<20, int64(guest.ShareMiB)<<20
	total, available := min(count(s.Pod.MemoryTotal), most+share), count(s.Pod.MemoryAvailable)
	out := &husk.GuestSample{
		MemoryUsedBytes: max(0, min(total-available, most)), MemoryCachedBytes: min(count(s.Pod.MemoryCached), most),
		CPUPressure: s.Pod.Pressure.CPU, MemoryPressure: s.Pod.Pressure.Memory, IOPressure: s.Pod.Pressure.IO,
	}
	for _, c := range s.Containers {
		if slices.ContainsFunc(desired.Containers, func(d husk.DesiredContainer) bool { return d.Name == c.Name }) {
			out.OOMKills = min(out.OOMKills+count(c.OOMKills), 1<<53)
		}
	}
	// A container's count begins again with each run, and a kill usually ends the run. So the pod's
	// count may be larger. An older husk-init does not have it.
	out.OOMKills = max(out.OOMKills, min(count(s.Pod.OOMKills), 1<<53))
	seen := map[string]bool{}
	for _, d := range s.Disks {
		kind, name, known := diskOf(desired, d.Serial)
		if d.FileSystem == nil || !known || kind == openapi.DiskStatsKindImage || seen[d.Serial] {
			continue
		}
		seen[d.Serial] = true
		fs := husk.FileSystemSample{UsedBytes: count(d.FileSystem.UsedBytes), CapacityBytes: count(d.FileSystem.CapacityBytes)}
		if kind == openapi.DiskStatsKindVolume {
			fs.Volume = name
		}
		out.FileSystems = append(out.FileSystems, fs)
	}
	return out
}
