package husk

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// TenantMetrics is what is told of a tenant now: its quota with its use, its pods and its volumes.
type TenantMetrics struct {
	ID      uuid.UUID
	Name    string
	Quota   QuotaUse
	Pods    []PodMetrics    // by name
	Volumes []VolumeMetrics // by name
}

// PodMetrics is a pod as the database knows it, with the last sample of its node, if that is fresh.
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

// VolumeMetrics is a volume.
type VolumeMetrics struct {
	ID      uuid.UUID
	Name    string
	SizeGiB int
}
