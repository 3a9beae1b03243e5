// SPDX-License-Identifier: Apache-2.0

// Package limits holds the contract's limits for what a guest can say about its pod. husk-init, the agent and the server apply the same
// limits. It imports nothing, because husk-init is linked with it. A test of package openapi compares it with openapi.yaml.
package limits

const (
	// Containers is per pod.
	Containers = 16
	// Volumes is per pod.
	Volumes = 16
	// Name is for the name of a container or a volume, in bytes.
	Name = 63
	// Reason is for the reason in a pod's or a container's status, in bytes. The contract counts characters, which are never more.
	Reason = 100
	// Message is for the message in a pod's or a container's status, in bytes.
	Message = 4096
	// Restarts is for the number of restarts in a status.
	Restarts = 1_000_000_000
	// ReportItems is for each list of a status report.
	ReportItems = 10_000
	// SampleItems is for the list of a report of samples.
	SampleItems = 4000
	// CPUMillis is for the cpu of a pod, and for the limit of a container.
	CPUMillis = 256_000
	// MemoryMiB is for the memory of a pod, and for the limit of a container.
	MemoryMiB = 4 << 20
	// Groups is for the supplementary groups of a container.
	Groups = 32
	// ProbeNumber is for each number of a probe: seconds and thresholds.
	ProbeNumber = 86_400
)
