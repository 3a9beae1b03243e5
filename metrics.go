// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// TenantMetrics is what the metrics of a tenant are made of: its quota with its use, its pods, its volumes and its services.
type TenantMetrics struct {
	ID      uuid.UUID
	Name    string
	Quota   QuotaUse
	Pods    []PodMetrics    // by name
	Volumes []VolumeMetrics // by name

	Services []ServiceMetrics
	Groups   []SecurityMetrics
}

// PodMetrics is a pod in the database, with the latest sample from its node if that is recent.
type PodMetrics struct {
	ID         uuid.UUID
	Name       string
	Labels     map[string]string
	Phase      Phase
	NodeName   string
	Address    netip.Addr
	Limits     Resources
	Restarts   int
	Containers []ContainerStatus
	StartedAt  *time.Time
	Sample     *PodSample
}

// VolumeMetrics is a volume in the database.
type VolumeMetrics struct {
	ID      uuid.UUID
	Name    string
	SizeGiB int
}

// SecurityMetrics is what a security group has allowed and dropped.
type SecurityMetrics struct {
	Name           string
	Rules, Dropped []SecurityCount
}

// ServiceMetrics is how many endpoints a service has.
type ServiceMetrics struct {
	Name             string
	Endpoints, Ready int
}
