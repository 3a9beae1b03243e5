// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"husk/nodeagent/network"
	"husk/nodeagent/vm"
)

// podLimits are the flags that say how much of its node one pod can use in addition to its cpu and memory. 0 means no limit.
type podLimits struct{ packets, diskMiB, diskOperations int }

func (l *podLimits) register(fs *pflag.FlagSet) {
	fs.IntVar(&l.packets, "pod-packets-per-second", 100_000, "packets per second that one pod can receive, and where Open vSwitch runs in the kernel, send; 0: any number")
	fs.IntVar(&l.diskMiB, "pod-disk-mib-per-second", 256, "MiB per second that all disks of one pod can read and write together; 0: any number")
	fs.IntVar(&l.diskOperations, "pod-disk-iops", 5000, "reads and writes per second of all disks of one pod together; 0: any number")
}

func (l podLimits) network() (network.Limits, error) {
	limits := network.Limits{PacketsPerSecond: l.packets}
	if err := limits.Check(); err != nil {
		return limits, fmt.Errorf("--pod-packets-per-second: %w", err)
	}
	return limits, nil
}

func (l podLimits) disks() (vm.DiskLimits, error) {
	if l.diskMiB < 0 || l.diskOperations < 0 {
		return vm.DiskLimits{}, fmt.Errorf("--pod-disk-mib-per-second and --pod-disk-iops must be at least 0; they are %d and %d", l.diskMiB, l.diskOperations)
	}
	return vm.DiskLimits{BytesPerSecond: uint64(l.diskMiB) << 20, OperationsPerSecond: uint64(l.diskOperations)}, nil
}
