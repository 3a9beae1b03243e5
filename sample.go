// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// PodSample is a node's latest reading of a running pod. Counters start at zero with the pod's virtual machine. Guest holds what only the
// guest can know. It is nil while the guest reports nothing, and it must not be trusted: the tenant controls the guest.
type PodSample struct {
	PodID uuid.UUID `json:"podId"`

	CPUNanos      int64  `json:"cpuNanos"`                // of the whole virtual machine, from libvirt
	CPUStealNanos *int64 `json:"cpuStealNanos,omitempty"` // time in which its virtual CPUs were ready to run and waited for a CPU of the node
	MachineBytes  *int64 `json:"machineBytes,omitempty"`  // memory of the node, including the overhead

	NetworkReceiveBytes    int64 `json:"networkReceiveBytes"`
	NetworkReceivePackets  int64 `json:"networkReceivePackets"`
	NetworkReceiveErrors   int64 `json:"networkReceiveErrors"`
	NetworkReceiveDrops    int64 `json:"networkReceiveDrops"`
	NetworkTransmitBytes   int64 `json:"networkTransmitBytes"`
	NetworkTransmitPackets int64 `json:"networkTransmitPackets"`
	NetworkTransmitErrors  int64 `json:"networkTransmitErrors"`
	NetworkTransmitDrops   int64 `json:"networkTransmitDrops"`
	// Of the bytes, from and to addresses outside of the tenant's networks. Agents of earlier versions do not count them.
	NetworkOutsideReceiveBytes  int64 `json:"networkOutsideReceiveBytes,omitempty"`
	NetworkOutsideTransmitBytes int64 `json:"networkOutsideTransmitBytes,omitempty"`
	// Packets that were dropped because their source was not the pod's.
	NetworkSpoofedPackets int64 `json:"networkSpoofedPackets,omitempty"`

	DiskReadBytes       int64 `json:"diskReadBytes"`
	DiskReadOperations  int64 `json:"diskReadOperations"`
	DiskWriteBytes      int64 `json:"diskWriteBytes"`
	DiskWriteOperations int64 `json:"diskWriteOperations"`

	Guest *GuestSample `json:"guest,omitempty"`
}

// GuestSample is what the guest kernel counts.
type GuestSample struct {
	MemoryUsedBytes   int64 `json:"memoryUsedBytes"`
	MemoryCachedBytes int64 `json:"memoryCachedBytes"`
	OOMKills          int64 `json:"oomKills"`
	// The pressures are shares of the last ten seconds, in hundredths of a percent. They are nil if the kernel does not count them.
	CPUPressure    *int `json:"cpuPressure,omitempty"`
	MemoryPressure *int `json:"memoryPressure,omitempty"`
	IOPressure     *int `json:"ioPressure,omitempty"`
	// FileSystems are those of the volumes and of the scratch disk.
	FileSystems []FileSystemSample `json:"fileSystems,omitempty"`
}

// FileSystemSample is how full a file system of a pod is, as its kernel counts.
type FileSystemSample struct {
	Volume        string `json:"volume,omitempty"` // its name in the pod; empty: the scratch disk
	UsedBytes     int64  `json:"usedBytes"`
	CapacityBytes int64  `json:"capacityBytes"`
}

// SampleReport is what an agent reports about its node's pods.
type SampleReport struct {
	Pods           []PodSample     `json:"pods"`
	SecurityCounts []SecurityCount `json:"securityCounts,omitempty"`
	SecurityDrops  []SecurityDrop  `json:"securityDrops,omitempty"`
}

// SecurityCount is how many packets a rule of a security group has allowed on a node, or how many a group has dropped there. Counters begin at zero
// at any time.
type SecurityCount struct {
	Rule      int64     `json:"rule,omitempty"` // its number; 0: of what the group drops
	GroupID   uuid.UUID `json:"groupId,omitzero"`
	Direction string    `json:"direction,omitempty"`
	Packets   int64     `json:"packets"`
	Bytes     int64     `json:"bytes"`
}

// Key identifies what is counted.
func (c SecurityCount) Key() string {
	if c.GroupID != uuid.Nil {
		return c.GroupID.String() + c.Direction
	}
	return fmt.Sprint(c.Rule)
}

// SecurityDrop is a packet that no rule of a security group allowed.
type SecurityDrop struct {
	At              time.Time  `json:"at"`
	GroupID         uuid.UUID  `json:"groupId"`
	Direction       string     `json:"direction"`
	PodID           uuid.UUID  `json:"podId"`
	Protocol        string     `json:"protocol"`
	Source          netip.Addr `json:"source"`
	SourcePort      int        `json:"sourcePort,omitempty"`
	Destination     netip.Addr `json:"destination"`
	DestinationPort int        `json:"destinationPort,omitempty"`
}
