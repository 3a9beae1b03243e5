// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"time"

	"github.com/google/uuid"
)

// Tenant is the party that is isolated, limited and billed.
type Tenant struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Quota       Quota     `json:"quota"`
	NetworkCIDR string    `json:"networkCidr"`
	CreatedAt   time.Time `json:"createdAt"`
}

// Quota is the limits of a tenant. Zero allows nothing.
type Quota struct {
	Pods       int `json:"pods"`
	CPUMillis  int `json:"cpuMillis"`
	MemoryMiB  int `json:"memoryMiB"`
	Volumes    int `json:"volumes"`
	VolumeGiB  int `json:"volumeGiB"`
	ScratchGiB int `json:"scratchGiB"` // of the scratch disks of pods
	// VolumeClassGiB is GiB of the volumes of a class. Other classes have no limit of their own.
	VolumeClassGiB    map[string]int `json:"volumeClassGiB,omitempty"`
	Snapshots         int            `json:"snapshots"`
	Networks          int            `json:"networks"`
	Addresses         int            `json:"addresses"` // floating ones
	Images            int            `json:"images"`
	Configs           int            `json:"configs"` // and secrets
	Services          int            `json:"services"`
	Ingresses         int            `json:"ingresses"`
	SecurityGroups    int            `json:"securityGroups"`
	RequestsPerSecond int            `json:"requestsPerSecond"` // to the API; bursts may be twice as large
	Priority          int            `json:"priority"`          // the highest priority that a pod may have
}

// DefaultQuota is the quota of a tenant that is created without one.
var DefaultQuota = Quota{
	Pods: 100, CPUMillis: 64_000, MemoryMiB: 131_072, Volumes: 100, VolumeGiB: 1024, Snapshots: 100, Networks: 8, Addresses: 8, Images: 100,
	ScratchGiB: 100 * DefaultScratchGiB, Configs: 100, Services: 100, Ingresses: 20, SecurityGroups: 50, RequestsPerSecond: 100,
}

// ResourceUse is how much of its quota a tenant uses.
type ResourceUse struct {
	Pods       int64 `json:"pods"`
	CPUMillis  int64 `json:"cpuMillis"`
	MemoryMiB  int64 `json:"memoryMiB"`
	ScratchGiB int64 `json:"scratchGiB"`
	Volumes    int64 `json:"volumes"`
	VolumeGiB  int64 `json:"volumeGiB"`
	// VolumeClassGiB is GiB of the volumes by class, of classes that some have.
	VolumeClassGiB map[string]int64 `json:"volumeClassGiB,omitempty"`
	Snapshots      int64            `json:"snapshots"`
	Networks       int64            `json:"networks"`
	Addresses      int64            `json:"addresses"`
	Images         int64            `json:"images"`
	Configs        int64            `json:"configs"`
	Services       int64            `json:"services"`
	Ingresses      int64            `json:"ingresses"`

	SecurityGroups int64 `json:"securityGroups"`
}

// QuotaUse is a tenant's limits and how much of them it uses. Use can exceed a limit that was lowered.
type QuotaUse struct {
	Limits Quota       `json:"limits"`
	Used   ResourceUse `json:"used"`
}
