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
