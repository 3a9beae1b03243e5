// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"strings"

	"husk"
	"husk/guest"
	"husk/nodeagent/vm"
	"husk/openapi"
)

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
