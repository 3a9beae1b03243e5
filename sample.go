package husk

import "github.com/google/uuid"

// PodSample is what a node last saw of a running pod. Counters count from the start of the pod's virtual machine. What only the guest can
// know is nil while it says nothing, and is its tenant's own word.
type PodSample struct {
	PodID uuid.UUID `json:"podId"`

	CPUNanos      int64  `json:"cpuNanos"`                // by libvirt, of the whole virtual machine
	CPUStealNanos *int64 `json:"cpuStealNanos,omitempty"` // its processors were ready and waited for one of the node's
	MachineBytes  *int64 `json:"machineBytes,omitempty"`  // of the node's memory, overhead included

	NetworkReceiveBytes    int64 `json:"networkReceiveBytes"`
	NetworkReceivePackets  int64 `json:"networkReceivePackets"`
	NetworkReceiveErrors   int64 `json:"networkReceiveErrors"`
	NetworkReceiveDrops    int64 `json:"networkReceiveDrops"`
	NetworkTransmitBytes   int64 `json:"networkTransmitBytes"`
	NetworkTransmitPackets int64 `json:"networkTransmitPackets"`
	NetworkTransmitErrors  int64 `json:"networkTransmitErrors"`
	NetworkTransmitDrops   int64 `json:"networkTransmitDrops"`

	DiskReadBytes       int64 `json:"diskReadBytes"`
	DiskReadOperations  int64 `json:"diskReadOperations"`
	DiskWriteBytes      int64 `json:"diskWriteBytes"`
	DiskWriteOperations int64 `json:"diskWriteOperations"`

	Guest *GuestSample `json:"guest,omitempty"`
}

// GuestSample is what the kernel in the pod counts.
type GuestSample struct {
	MemoryUsedBytes   int64 `json:"memoryUsedBytes"`
	MemoryCachedBytes int64 `json:"memoryCachedBytes"`
	OOMKills          int64 `json:"oomKills"`
	// Pressures are shares of the last ten seconds in hundredths of a percent, absent where the kernel does not count them.
	CPUPressure    *int `json:"cpuPressure,omitempty"`
	MemoryPressure *int `json:"memoryPressure,omitempty"`
	IOPressure     *int `json:"ioPressure,omitempty"`
}
