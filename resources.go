package husk

import (
	"time"

	"github.com/google/uuid"
)

// VolumeState is where a volume stands in its life.
type VolumeState string

// The states of a volume.
const (
	VolumeCreating  VolumeState = "Creating"
	VolumeAvailable VolumeState = "Available"
	VolumeInUse     VolumeState = "InUse" // available and claimed by a pod; never stored
	VolumeDeleting  VolumeState = "Deleting"
)

// Volume is an RBD image of a tenant with a file system on it.
type Volume struct {
	ID        uuid.UUID         `json:"id"`
	TenantID  uuid.UUID         `json:"-"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	SizeGiB   int               `json:"sizeGiB"`
	State     VolumeState       `json:"state"`
	Message   string            `json:"message,omitempty"`
	PodID     *uuid.UUID        `json:"podId,omitempty"` // the pod that has claimed it
	CreatedAt time.Time         `json:"createdAt"`
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
	ID        uuid.UUID   `json:"id"`
	TenantID  uuid.UUID   `json:"-"`
	Reference string      `json:"reference"`
	Digest    string      `json:"digest"` // of the linux/amd64 manifest
	State     ImageState  `json:"state"`
	Message   string      `json:"message,omitempty"`
	Config    ImageConfig `json:"-"`
	SizeBytes int64       `json:"sizeBytes,omitempty"`
	CreatedAt time.Time   `json:"createdAt"`
	ReadyAt   *time.Time  `json:"readyAt,omitempty"`

	Progress *ImportProgress `json:"progress,omitempty"` // only while importing, and once the first try has begun
}

// ImportProgress is how much of an image has come from its registry.
type ImportProgress struct {
	FetchedBytes int64 `json:"fetchedBytes"`
	TotalBytes   int64 `json:"totalBytes"` // of the compressed layers, as the manifest says
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
	Pods              int `json:"pods"`
	CPUMillis         int `json:"cpuMillis"`
	MemoryMiB         int `json:"memoryMiB"`
	Volumes           int `json:"volumes"`
	VolumeGiB         int `json:"volumeGiB"`
	Snapshots         int `json:"snapshots"`
	Networks          int `json:"networks"`
	Addresses         int `json:"addresses"`
	Images            int `json:"images"`
	RequestsPerSecond int `json:"requestsPerSecond"` // of the API, with bursts of twice as many
	Priority          int `json:"priority"`          // the highest that a pod may have
}

// DefaultQuota is what a tenant gets whose creation names no quota.
var DefaultQuota = Quota{
	Pods: 100, CPUMillis: 64_000, MemoryMiB: 131_072, Volumes: 100, VolumeGiB: 1024, Snapshots: 100, Networks: 1, Addresses: 100, Images: 100,
	RequestsPerSecond: 100,
}

// ResourceUse is what a tenant has in use of its quota.
type ResourceUse struct {
	Pods      int64 `json:"pods"`
	CPUMillis int64 `json:"cpuMillis"`
	MemoryMiB int64 `json:"memoryMiB"`
	Volumes   int64 `json:"volumes"`
	VolumeGiB int64 `json:"volumeGiB"`
	Snapshots int64 `json:"snapshots"`
	Networks  int64 `json:"networks"`
	Addresses int64 `json:"addresses"`
	Images    int64 `json:"images"`
}

// QuotaUse is a tenant's limits and what is in use of them. Use may be above a limit that was lowered.
type QuotaUse struct {
	Limits Quota       `json:"limits"`
	Used   ResourceUse `json:"used"`
}

// Tenant is whoever is isolated, limited and billed.
type Tenant struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Quota       Quota     `json:"quota"`
	NetworkCIDR string    `json:"networkCidr"`
	CreatedAt   time.Time `json:"createdAt"`
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
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	State     NodeState `json:"state"`
	Capacity  Resources `json:"capacity"`
	Allocated Resources `json:"allocated"`
	// SchedulableCPUMillis is the capacity's cpu times what the pool promises of it.
	SchedulableCPUMillis int `json:"schedulableCPUMillis"`
	VMMOverheadMiB       int `json:"vmmOverheadMiB"`
	NodeSettings
	Endpoint    string     `json:"-"` // where servers reach the agent
	CreatedAt   time.Time  `json:"createdAt"`
	HeartbeatAt *time.Time `json:"heartbeatAt,omitempty"`
}

// PlacedPod is a pod as the operator sees it: where it is and what room it takes, not what is in it.
type PlacedPod struct {
	ID             uuid.UUID  `json:"id"`
	TenantID       uuid.UUID  `json:"tenantId"`
	TenantName     string     `json:"tenantName"`
	Name           string     `json:"name"`
	Phase          Phase      `json:"phase"`
	Reason         string     `json:"reason,omitempty"`
	NodeID         *uuid.UUID `json:"nodeId,omitempty"` // on which it holds room
	Resources      Resources  `json:"resources"`
	VMMOverheadMiB int        `json:"vmmOverheadMiB"`
	Priority       int        `json:"priority"`
	CreatedAt      time.Time  `json:"createdAt"`
}
