// SPDX-License-Identifier: Apache-2.0

// Package limits holds the contract's limits for what a guest can say about its pod. husk-init, the agent and the server apply the same
// ones. It imports nothing, because husk-init is linked with it. A test of package openapi compares it with openapi.yaml.
package limits

const (
	// Containers and Volumes are per pod.
	Containers = 16
	Volumes    = 16
	// Name is for the name of a container or a volume, in bytes.
	Name = 63
	// Reason and Message are for the texts of a pod's or a container's status. The contract counts characters. Bytes are never fewer.
	Reason  = 100
	Message = 4096
	// Restarts is for the number of restarts in a status.
	Restarts = 1_000_000_000
	// ReportItems is for a list of one status report, and SampleItems for that of one sample report.
	ReportItems = 10_000
	SampleItems = 4000
)
