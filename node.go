// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"time"

	"github.com/google/uuid"
)

// CapabilityPrivileged is of agents that run privileged containers. An older agent would run them
// confined.
const CapabilityPrivileged = "privileged"

// CapabilityContainerOptions is of agents that know init containers and the options of containers (ContainerOptions). An older agent
// would ignore them.
const CapabilityContainerOptions = "container-options"

// CapabilityConfigs is of agents that keep the values of configs and secrets in files, mount parts of
// volumes, and pass changed values to running pods.
const CapabilityConfigs = "configs"

// CapabilityEmptyDirs is of agents that know volumes which are empty when the machine starts.
const CapabilityEmptyDirs = "empty-dirs"

// CapabilitySharedMemory is of agents that know the size of the memory that all containers share.
const CapabilitySharedMemory = "shared-memory"

// CapabilityHostSettings is of agents that know HostSettings.
const CapabilityHostSettings = "host-settings"

// CapabilityScratch is of agents that make scratch disks for pods. Pods that ask for no particular size also run on others.
const CapabilityScratch = "scratch"

// CapabilityNetworks is of agents that connect a pod to several networks, and to isolated ones.
const CapabilityNetworks = "networks"

// CapabilityMoves is of agents that start a pod which another node still runs.
const CapabilityMoves = "moves"

// CapabilityLiveMigration is of agents that move a machine to another node while it runs.
const CapabilityLiveMigration = "live-migration"

// CapabilityGateway is of nodes that are connected to the provider network, through which pods reach others.
const CapabilityGateway = "gateway"

// CapabilityVolumeKinds is of agents whose guests know volumes with xfs and volumes without a file system.
const CapabilityVolumeKinds = "volume-kinds"

// CapabilityInitProcess is of agents whose guests know an init process of containers, and a maximum number of their restarts.
const CapabilityInitProcess = "init-process"

// CapabilitySnapshots is of agents that attach snapshots read-only.
const CapabilitySnapshots = "snapshots"

// CapabilityResize is of agents that change the size of a machine while it runs.
const CapabilityResize = "resize"

// CapabilityEncryption is of agents that attach encrypted volumes and snapshots.
const CapabilityEncryption = "encryption"

// AgentCapabilities are those of this version's agent: what it can do beyond the first version of the protocol.
var AgentCapabilities = []string{
	CapabilityPrivileged, CapabilityConfigs, CapabilityContainerOptions, CapabilityEmptyDirs, CapabilitySharedMemory, CapabilityScratch, CapabilityHostSettings, CapabilityNetworks,
	CapabilityMoves, CapabilityLiveMigration, CapabilityVolumeKinds, CapabilitySnapshots, CapabilityEncryption,
	CapabilityInitProcess, CapabilityResize,
}

// Node is one bare-metal machine with an agent.
type Node struct {
	ID    uuid.UUID `json:"id"`
	Name  string    `json:"name"`
	State NodeState `json:"state"`
	// StateSince is when it came into this state. Message says why it is not fenced yet, or why some of its pods are not moved.
	StateSince time.Time `json:"stateSince"`
	Message    string    `json:"message,omitempty"`
	Capacity   Resources `json:"capacity"`
	Allocated  Resources `json:"allocated"`
	// SchedulableCPUMillis is the cpu capacity times the overcommit ratio of the node's pool.
	SchedulableCPUMillis int `json:"schedulableCPUMillis"`
	VMMOverheadMiB       int `json:"vmmOverheadMiB"`
	// ScratchGiB is how much the scratch disks of its pods can have together. Nil: its agent makes none, and pods write to their memory.
	ScratchGiB          *int `json:"scratchGiB,omitempty"`
	AllocatedScratchGiB int  `json:"allocatedScratchGiB"`
	// Capabilities is what the agent can do beyond the first version of the protocol.
	Capabilities []string `json:"capabilities"`
	NodeSettings
	// Drain is the state of its drain, if it is being drained.
	Drain          string `json:"drain,omitempty"`
	Endpoint       string `json:"-"` // the URL at which servers reach the agent
	StorageAddress string `json:"-"` // the IP address from which it reaches Ceph
	// FenceAddresses is what is on Ceph's blocklist for it. Clean is whether it has reported that nothing runs on it that should not.
	FenceAddresses []string   `json:"-"`
	FencedAt       *time.Time `json:"-"`
	MachineOff     bool       `json:"-"` // an operator has confirmed that it has no power
	Clean          bool       `json:"-"`
	CreatedAt      time.Time  `json:"createdAt"`
	HeartbeatAt    *time.Time `json:"heartbeatAt,omitempty"`
}

// PlacedPod is what an operator sees of a pod: its node and its size, but not its contents.
type PlacedPod struct {
	ID             uuid.UUID  `json:"id"`
	TenantID       uuid.UUID  `json:"tenantId"`
	TenantName     string     `json:"tenantName"`
	Name           string     `json:"name"`
	Phase          Phase      `json:"phase"`
	UnknownSince   *time.Time `json:"unknownSince,omitempty"` // as that of [PodStatus]
	Reason         string     `json:"reason,omitempty"`
	NodeID         *uuid.UUID `json:"nodeId,omitempty"` // the node on which it is allocated
	Resources      Resources  `json:"resources"`
	VMMOverheadMiB int        `json:"vmmOverheadMiB"`
	Priority       int        `json:"priority"`
	CreatedAt      time.Time  `json:"createdAt"`
}

// NodeCertificate is a certificate by which a node's agent is authenticated.
type NodeCertificate struct {
	Serial    string     `json:"serial"` // in hexadecimal digits
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
	RevokedAt *time.Time `json:"revokedAt,omitempty"`
}

// The states of a drain.
const (
	DrainDraining = "Draining"
	DrainDrained  = "Drained" // no pod is left on the node
)

// Drain moves all pods of a node to other nodes, a few at a time.
type Drain struct {
	State string `json:"state"`
	DrainLimits
	Pods      int          `json:"pods"`    // that are still on the node
	Moving    int          `json:"moving"`  // of them
	Leaving   int          `json:"leaving"` // pods that run on another node, and of which this one still has something
	Moved     int          `json:"moved"`
	Blocked   []BlockedPod `json:"blocked"`
	StartedAt time.Time    `json:"startedAt"`
	DrainedAt *time.Time   `json:"drainedAt,omitempty"`
}

// DrainLimits says how a node is drained.
type DrainLimits struct {
	MaxMoves          int  `json:"maxMoves"`          // at the same time
	MaxMovesPerTenant int  `json:"maxMovesPerTenant"` // at the same time
	Restart           bool `json:"restart"`           // stop pods that cannot move while they run; they start again elsewhere
}

// DefaultDrainLimits are the limits of a drain that is given none.
var DefaultDrainLimits = DrainLimits{MaxMoves: 4, MaxMovesPerTenant: 2}

// BlockedPod is a pod that is still on a node that is being drained, and why.
type BlockedPod struct {
	ID       uuid.UUID `json:"id"`
	TenantID uuid.UUID `json:"tenantId"`
	Name     string    `json:"name"`
	Attempts int       `json:"attempts"`
	Message  string    `json:"message"`
}

// Move is a pod's way from one node to another.
type Move struct {
	PodID    uuid.UUID `json:"podId"`
	TenantID uuid.UUID `json:"tenantId"`
	From     string    `json:"fromNodeName"`
	To       string    `json:"toNodeName"`
	Live     bool      `json:"live"` // its memory moves too
}
