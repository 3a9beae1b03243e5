// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/nodeagent/vm"
	"husk/openapi"
)

// Stats converts a guest's statistics to the contract's form, with names instead of the disks'
// serial numbers.
func Stats(s guest.Stats, desired husk.DesiredPod) openapi.PodStats {
	out := openapi.PodStats{At: s.At, BootID: s.BootID}
	p := &out.Pod
	p.Cpus, p.CPUMicros = s.Pod.CPUs, count(s.Pod.CPUMicros)
	p.MemoryTotalBytes, p.MemoryAvailableBytes, p.MemoryCachedBytes = count(s.Pod.MemoryTotal), count(s.Pod.MemoryAvailable), count(s.Pod.MemoryCached)
	p.RxBytes, p.TxBytes, p.RxPackets, p.TxPackets = count(s.Pod.RxBytes), count(s.Pod.TxBytes), count(s.Pod.RxPackets), count(s.Pod.TxPackets)
	p.CPUPressurePercent, p.MemoryPressurePercent, p.IoPressurePercent = percent(s.Pod.Pressure.CPU), percent(s.Pod.Pressure.Memory), percent(s.Pod.Pressure.IO)
	return withParts(out, s, desired)
}

// count limits a guest's counter to JSON's range, since a faulty guest may exceed it.
func count(n uint64) int64 { return int64(min(n, 1<<53)) }

func percent(hundredths *int) *float32 {
	if hundredths == nil {
		return nil
	}
	share := float32(*hundredths) / 100
	return &share
}

// withParts adds containers and disks. The guest controls the input, so only containers and disks
// that the pod is known to have are added.
func withParts(out openapi.PodStats, s guest.Stats, desired husk.DesiredPod) openapi.PodStats {
	out.Containers, out.Disks = []openapi.ContainerStats{}, []openapi.DiskStats{}
	for _, c := range s.Containers {
		if !slices.ContainsFunc(desired.Containers, func(d husk.DesiredContainer) bool { return d.Name == c.Name }) {
			continue
		}
		out.Containers = append(out.Containers, openapi.ContainerStats{
			Name: c.Name, CPUMicros: count(c.CPUMicros), MemoryBytes: count(c.MemoryBytes), MemoryCachedBytes: count(c.MemoryCached),
			Processes: count(c.Processes), OomKills: count(c.OOMKills),
		})
	}
	slices.SortFunc(out.Containers, func(a, b openapi.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range s.Disks {
		if kind, name, known := diskOf(desired, d.Serial); known {
			disk := openapi.DiskStats{
				Kind: kind, Name: name, ReadBytes: count(d.ReadBytes), WriteBytes: count(d.WriteBytes), Reads: count(d.Reads), Writes: count(d.Writes),
			}
			if d.FileSystem != nil {
				disk.UsedBytes, disk.CapacityBytes = new(count(d.FileSystem.UsedBytes)), new(count(d.FileSystem.CapacityBytes))
			}
			out.Disks = append(out.Disks, disk)
		}
	}
	return out
}

// diskOf returns what a disk of the pod is.
func diskOf(desired husk.DesiredPod, serial string) (kind openapi.DiskStatsKind, name string, known bool) {
	if desired.ScratchGiB > 0 && serial == vm.ScratchSerial {
		return openapi.DiskStatsKindScratch, vm.ScratchSerial, true
	}
	for _, v := range desired.Volumes {
		if v.Serial == serial {
			return openapi.DiskStatsKindVolume, v.Name, true
		}
	}
	for _, c := range desired.Containers {
		if c.ImageSerial == serial {
			return openapi.DiskStatsKindImage, c.Name, true
		}
	}
	return "", "", false
}

// Sample converts what libvirt and the network have counted for a pod.
func Sample(pod uuid.UUID, m vm.Stats, t husk.Traffic) husk.PodSample {
	s := husk.PodSample{
		PodID: pod, CPUNanos: m.CPU.Nanoseconds(), MachineBytes: m.MachineBytes,
		NetworkReceiveBytes: m.Receive.Bytes, NetworkReceivePackets: m.Receive.Packets, NetworkReceiveErrors: m.Receive.Errors, NetworkReceiveDrops: m.Receive.Drops,
		NetworkTransmitBytes: m.Transmit.Bytes, NetworkTransmitPackets: m.Transmit.Packets, NetworkTransmitErrors: m.Transmit.Errors, NetworkTransmitDrops: m.Transmit.Drops,
		NetworkOutsideReceiveBytes: t.OutsideReceivedBytes, NetworkOutsideTransmitBytes: t.OutsideSentBytes,
		DiskReadBytes: m.ReadBytes, DiskReadOperations: m.Reads, DiskWriteBytes: m.WriteBytes, DiskWriteOperations: m.Writes,
	}
	if m.Steal != nil {
		nanos := m.Steal.Nanoseconds()
		s.CPUStealNanos = &nanos
	}
	return s
}

// GuestSample takes only values that are possible for the pod: it cannot use more memory than it
// has, and has no containers other than those in its spec.
func GuestSample(s guest.Stats, desired husk.DesiredPod) *husk.GuestSample {
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
