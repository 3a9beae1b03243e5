// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"time"
)

// Limits of the lists in Stats.
const maxDisks = maxContainers + maxVolumes

// Stats is the resource usage of a pod, as its own kernel counts it. Counters start at the boot of
// the guest or at the start of a container's run; rates are the difference between two samples. Do
// not bill by these values: root in the guest can forge them.
type Stats struct {
	At         time.Time        `json:"at"`
	ClockSets  uint64           `json:"clockSets,omitempty"` // how many times the clock had been corrected
	BootID     string           `json:"bootID"`              // counters start again with it
	Pod        PodStats         `json:"pod"`
	Containers []ContainerStats `json:"containers,omitempty"`
	Disks      []DiskStats      `json:"disks,omitempty"`
}

// PodStats is the whole machine.
type PodStats struct {
	CPUs            int      `json:"cpus"`
	CPUMicros       uint64   `json:"cpuMicros"`       // used, all processors together
	MemoryTotal     uint64   `json:"memoryTotal"`     // bytes
	MemoryAvailable uint64   `json:"memoryAvailable"` // bytes available without swapping
	MemoryCached    uint64   `json:"memoryCached"`    // bytes
	RxBytes         uint64   `json:"rxBytes"`
	TxBytes         uint64   `json:"txBytes"`
	RxPackets       uint64   `json:"rxPackets"`
	TxPackets       uint64   `json:"txPackets"`
	OOMKills        uint64   `json:"oomKills,omitempty"` // processes that the kernel killed because memory was insufficient
	Pressure        Pressure `json:"pressure,omitzero"`
}

// Pressure is the share of the last ten seconds in which some process waited for a resource, in
// hundredths of a percent. It is nil if the kernel does not count it.
type Pressure struct {
	CPU    *int `json:"cpu,omitempty"`
	Memory *int `json:"memory,omitempty"`
	IO     *int `json:"io,omitempty"`
}

// ContainerStats is one running container.
type ContainerStats struct {
	Name         string `json:"name"`
	CPUMicros    uint64 `json:"cpuMicros"`
	MemoryBytes  uint64 `json:"memoryBytes"`  // all memory charged to it, including page cache
	MemoryCached uint64 `json:"memoryCached"` // the page cache in it
	Processes    uint64 `json:"processes"`
	OOMKills     uint64 `json:"oomKills"`
}

// DiskStats is one virtio disk.
type DiskStats struct {
	Serial     string `json:"serial"`
	ReadBytes  uint64 `json:"readBytes"`
	WriteBytes uint64 `json:"writeBytes"`
	Reads      uint64 `json:"reads"`
	Writes     uint64 `json:"writes"`
	// FileSystem is nil if the disk is an image, or has no file system that is mounted.
	FileSystem *FileSystemStats `json:"fileSystem,omitempty"`
}

// FileSystemStats is how full a file system is. Bytes that only root may use are neither used nor part of the capacity.
type FileSystemStats struct {
	UsedBytes     uint64 `json:"usedBytes"`
	CapacityBytes uint64 `json:"capacityBytes"`
}

const (
	maxCPUs     = 1024
	maxPressure = 100_00
)

func (s *Stats) check() error {
	if len(s.Containers) > maxContainers || len(s.Disks) > maxDisks || len(s.BootID) > maxBootID {
		return errors.New("out of bounds")
	}
	if s.Pod.CPUs < 0 || s.Pod.CPUs > maxCPUs {
		return fmt.Errorf("%d processors", s.Pod.CPUs)
	}
	for _, p := range []*int{s.Pod.Pressure.CPU, s.Pod.Pressure.Memory, s.Pod.Pressure.IO} {
		if p != nil && (*p < 0 || *p > maxPressure) {
			return errors.New("pressure out of bounds")
		}
	}
	s.BootID = printable(s.BootID)
	seen := map[string]bool{}
	for _, c := range s.Containers {
		if err := checkName(c.Name); err != nil {
			return err
		}
		if seen[c.Name] {
			return fmt.Errorf("container %s: duplicate name", c.Name)
		}
		seen[c.Name] = true
	}
	for _, d := range s.Disks {
		if err := checkSerial(d.Serial); err != nil {
			return err
		}
	}
	return nil
}
