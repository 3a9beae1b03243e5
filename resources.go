package husk

import (
	"time"

	"github.com/google/uuid"
)

// VolumeState is where a volume stands in its life. In use is not a state of it: that is a pod's claim.
type VolumeState string

// The states of a volume.
const (
	VolumeCreating  VolumeState = "Creating"
	VolumeAvailable VolumeState = "Available"
	VolumeDeleting  VolumeState = "Deleting"
)

// Volume is an RBD image of a tenant with a file system on it.
type Volume struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	Name      string
	Labels    map[string]string
	SizeGiB   int
	State     VolumeState
	Message   string
	PodID     *uuid.UUID // the pod that has claimed it
	CreatedAt time.Time
}

// RBDName is the name of the volume's RBD image.
func (v Volume) RBDName() string { return "vol-" + v.ID.String() }

// ImageState is where a tenant's image stands in its life.
type ImageState string

// The states of an image.
const (
	ImageImporting ImageState = "Importing"
	ImageReady     ImageState = "Ready"
	ImageFailed    ImageState = "Failed"
	ImageDeleting  ImageState = "Deleting"
)

// Image is a tenant's right to an imported OCI image, with a clone of its own.
type Image struct {
	ID        uuid.UUID
	TenantID  uuid.UUID
	Reference string
	Digest    string // of the linux/amd64 manifest
	State     ImageState
	Message   string
	Config    ImageConfig
	SizeBytes int64
	CreatedAt time.Time
	ReadyAt   *time.Time
}

// CloneName is the name of the RBD clone through which the tenant's pods read the image.
func (i Image) CloneName() string { return "img-" + i.ID.String() }

// ImageConfig is the part of an OCI image configuration that containers start from.
type ImageConfig struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
}

// Quota is a tenant's upper limits. Zero allows nothing.
type Quota struct {
	Pods      int
	CPUMillis int
	MemoryMiB int
	Volumes   int
	VolumeGiB int
	Images    int
}

// DefaultQuota is what a tenant gets whose creation names no quota.
var DefaultQuota = Quota{Pods: 100, CPUMillis: 64_000, MemoryMiB: 131_072, Volumes: 100, VolumeGiB: 1024, Images: 100}

// Tenant is whoever is isolated, limited and billed.
type Tenant struct {
	ID          uuid.UUID
	Name        string
	Quota       Quota
	NetworkCIDR string
	CreatedAt   time.Time
}

// NodeState is what the server thinks of a node.
type NodeState string

// The states of a node.
const (
	NodeJoining NodeState = "Joining" // registered; no heartbeat yet
	NodeReady   NodeState = "Ready"
	NodeLost    NodeState = "Lost" // its heartbeat stays away
)

// Node is one bare-metal machine with an agent.
type Node struct {
	ID             uuid.UUID
	Name           string
	State          NodeState
	Capacity       Resources
	Allocated      Resources
	VMMOverheadMiB int
	Endpoint       string // where servers reach the agent
	Certificate    string // PEM; the only one servers accept there
	CreatedAt      time.Time
	HeartbeatAt    *time.Time
}

// Credential is a client id and secret of any kind of caller.
type Credential struct {
	ClientID  uuid.UUID
	Secret    string // only set when it is made; kept as a hash
	Name      string
	CreatedAt time.Time
	LastUsed  *time.Time
}

// CallerKind tells tenants, operators and agents apart.
type CallerKind string

// The kinds of callers.
const (
	CallerTenant   CallerKind = "tenant"
	CallerOperator CallerKind = "operator"
	CallerAgent    CallerKind = "agent"
)

// Caller is who a verified token speaks for.
type Caller struct {
	Kind     CallerKind
	ClientID uuid.UUID
	TenantID uuid.UUID // of a tenant's key
	NodeID   uuid.UUID // of an agent
}
