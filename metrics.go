// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// TenantMetrics is what the metrics of a tenant are made of: its quota with its use, its pods, its volumes, its services and its ingresses.
type TenantMetrics struct {
	ID      uuid.UUID
	Name    string
	Quota   QuotaUse
	Pods    []PodMetrics    // by name
	Volumes []VolumeMetrics // by name

	Services  []ServiceMetrics
	Ingresses []IngressMetrics
	Groups    []SecurityMetrics
}

// PodMetrics is a pod in the database, with the latest sample from its node if that is recent.
type PodMetrics struct {
	ID         uuid.UUID
	Name       string
	Labels     map[string]string
	Phase      Phase
	Unknown    bool // the node does not respond, so all of this may be old
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

// IngressMetrics is what has passed an ingress since it was created.
type IngressMetrics struct {
	Name                     string
	Requests                 [5]int64 // by the class of their status: from 100, 200, …, 500
	Limited                  int64    // of these, refused because of a limit of the platform
	ReceivedBytes, SentBytes int64
	Certificates             []CertificateMetrics
}

// CertificateMetrics is how long the certificate of a host is valid.
type CertificateMetrics struct {
	Host      string
	ExpiresAt *time.Time // nil: there is none
}
