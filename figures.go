package husk

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// TenantFigures is what is told of a tenant now: its quota with its use, its pods and its volumes.
type TenantFigures struct {
	ID      uuid.UUID
	Name    string
	Quota   QuotaUse
	Pods    []PodFigures    // by name
	Volumes []VolumeFigures // by name
}

// PodFigures is a pod as the database knows it, with the last sample of its node, if that is fresh.
type PodFigures struct {
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

// VolumeFigures is a volume.
type VolumeFigures struct {
	ID      uuid.UUID
	Name    string
	SizeGiB int
}
