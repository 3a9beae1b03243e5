// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// RestartPolicy says whether an exited container, or a virtual machine that died, is restarted.
type RestartPolicy string

// The restart policies mean what they mean in Kubernetes.
const (
	RestartAlways    RestartPolicy = "Always"
	RestartOnFailure RestartPolicy = "OnFailure"
	RestartNever     RestartPolicy = "Never"
)

// Resources is the size of a pod's virtual machine or of a node.
type Resources struct {
	CPUMillis int `json:"cpuMillis"` // 1000 is one core
	MemoryMiB int `json:"memoryMiB"`
}

// MaxSecurityGroups is how many security groups a pod can name.
const MaxSecurityGroups = 8

// PodSpec is what a tenant requests. It is immutable, except for the security groups: a pod is replaced, not edited.
type PodSpec struct {
	InitContainers     []Container   `json:"initContainers,omitempty"` // run before the others, in their order
	Containers         []Container   `json:"containers"`
	Resources          Resources     `json:"resources"`
	Volumes            []PodVolume   `json:"volumes,omitempty"`
	RestartPolicy      RestartPolicy `json:"restartPolicy"`
	FSGroup            *uint32       `json:"fsGroup,omitempty"`    // the group to which the volumes belong, and all containers
	ShmSizeMiB         int           `json:"shmSizeMiB,omitempty"` // of /dev/shm, which the containers share; 0: half of the memory
	GracePeriodSeconds int           `json:"terminationGracePeriodSeconds"`
	Scheduling         *Scheduling   `json:"scheduling,omitempty"`
	Networks           []PodNetwork  `json:"networks,omitempty"` // none: DefaultNetwork

	SecurityGroups []string `json:"securityGroups,omitempty"` // their names; they can change (package service/securitygroup)

	EphemeralStorage    string `json:"ephemeralStorage,omitempty"`    // StorageMemory, or empty for a disk
	EphemeralStorageGiB int    `json:"ephemeralStorageGiB,omitempty"` // 0: DefaultScratchGiB, if the node makes scratch disks
	HostSettings

	ActiveDeadlineSeconds   int  `json:"activeDeadlineSeconds,omitempty"`
	TTLSecondsAfterFinished *int `json:"ttlSecondsAfterFinished,omitempty"` // nil: the pod stays until somebody deletes it
}

// StorageMemory keeps what containers write in the pod's memory.
const StorageMemory = "memory"

// DefaultScratchGiB is the size of the scratch disk of a pod that asks for no other.
const DefaultScratchGiB = 10

// ScratchGiB returns the size of the pod's scratch disk, 0 if it has none.
func (s PodSpec) ScratchGiB() int {
	switch {
	case s.EphemeralStorage == StorageMemory:
		return 0
	case s.EphemeralStorageGiB == 0:
		return DefaultScratchGiB
	default:
		return s.EphemeralStorageGiB
	}
}

// Needs returns the capabilities that the agent of the pod's node has to have.
func (s PodSpec) Needs() []string {
	needs := []string{}
	add := func(capability string, needed bool) {
		if needed && !slices.Contains(needs, capability) {
			needs = append(needs, capability)
		}
	}
	for _, v := range s.Volumes {
		add(CapabilityConfigs, v.HasFiles())
		add(CapabilityEmptyDirs, v.EmptyDir != nil)
		add(CapabilitySnapshots, v.SnapshotID != uuid.Nil)
	}
	add(CapabilityConfigs, s.FSGroup != nil)
	add(CapabilityNetworks, len(s.Networks) > 0)
	add(CapabilityScratch, s.EphemeralStorageGiB != 0)
	add(CapabilityHostSettings, !s.unset())
	add(CapabilitySharedMemory, s.ShmSizeMiB != 0)
	add(CapabilityContainerOptions, len(s.InitContainers) > 0 || s.ActiveDeadlineSeconds > 0)
	for _, c := range s.AllContainers() {
		add(CapabilityPrivileged, c.Privileged)
		add(CapabilityInitProcess, c.InitProcess || c.MaxRestarts > 0)
		add(CapabilityContainerOptions, c.needsOptions())
		add(CapabilityVolumeKinds, len(c.VolumeDevices) > 0)
		add(CapabilityConfigs, slices.ContainsFunc(c.VolumeMounts, func(m VolumeMount) bool { return m.SubPath != "" }))
	}
	return needs
}

// PodVolume is something that containers can mount: a volume, files with values, or an empty directory. Exactly one other field
// than Name is set.
type PodVolume struct {
	Name     string    `json:"name"`
	VolumeID uuid.UUID `json:"volumeId,omitzero"`
	// SnapshotID is a snapshot that containers can read.
	SnapshotID uuid.UUID    `json:"snapshotId,omitzero"`
	Config     *ConfigFiles `json:"config,omitempty"`
	Secret     *ConfigFiles `json:"secret,omitempty"`
	EmptyDir   *EmptyDir    `json:"emptyDir,omitempty"`

	Projected []Projection `json:"projected,omitempty"`
}

// EmptyDir is a directory that is empty whenever the virtual machine starts.
type EmptyDir struct {
	Memory  bool `json:"memory,omitempty"`  // its files are in the pod's memory
	SizeMiB int  `json:"sizeMiB,omitempty"` // 0: no limit of its own
}

// Container is one OCI container of a pod. If Command and Args are nil, the image's own apply.
type Container struct {
	Name          string        `json:"name"`
	Image         string        `json:"image"` // a reference or the id of one of the tenant's images
	Command       []string      `json:"command,omitempty"`
	Args          []string      `json:"args,omitempty"`
	Env           []EnvVar      `json:"env,omitempty"`
	EnvFrom       []EnvSource   `json:"envFrom,omitempty"` // before Env
	WorkingDir    string        `json:"workingDir,omitempty"`
	User          string        `json:"user,omitempty"`
	Files         []File        `json:"files,omitempty"`
	VolumeMounts  []VolumeMount `json:"volumeMounts,omitempty"`
	Stdin         bool          `json:"stdin,omitempty"`         // keeps the standard input open for clients that attach
	StdinOnce     bool          `json:"stdinOnce,omitempty"`     // the input ends when the first of these clients disconnects
	StartOnAttach bool          `json:"startOnAttach,omitempty"` // the first start waits for a client, but not for long
	TTY           bool          `json:"tty,omitempty"`
	Privileged    bool          `json:"privileged,omitempty"` // root in the container has the whole guest
	StopSignal    string        `json:"stopSignal,omitempty"` // empty: the image's
	ContainerOptions
}

// EnvVar is one environment variable: its value, or where that comes from.
type EnvVar struct {
	Name  string       `json:"name"`
	Value string       `json:"value,omitempty"`
	From  *ValueSource `json:"from,omitempty"`
}

// File is written into the container before the container starts.
type File struct {
	Path          string `json:"path"`
	Content       string `json:"content,omitempty"`
	ContentBase64 string `json:"contentBase64,omitempty"`
	Mode          string `json:"mode,omitempty"` // octal, such as 0644
	UID           uint32 `json:"uid,omitempty"`
	GID           uint32 `json:"gid,omitempty"`
}

// VolumeMount mounts a volume of the pod in a container.
type VolumeMount struct {
	Volume    string `json:"volume"`
	MountPath string `json:"mountPath"`
	SubPath   string `json:"subPath,omitempty"` // inside the volume; a missing directory is created
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

// Pod is one virtual machine: its spec and its status.
type Pod struct {
	ID                  uuid.UUID         `json:"id"`
	TenantID            uuid.UUID         `json:"-"`
	Name                string            `json:"name"`
	Labels              map[string]string `json:"labels"`
	Annotations         map[string]string `json:"annotations,omitempty"`
	Generation          int64             `json:"generation"`
	CreatedAt           time.Time         `json:"createdAt"`
	DeletionRequestedAt *time.Time        `json:"deletionRequestedAt,omitempty"`
	Spec                PodSpec           `json:"spec"`
	Status              PodStatus         `json:"status"`
}

// PodStatus is the observed state of a pod.
type PodStatus struct {
	Phase              Phase             `json:"phase"`
	UnknownSince       *time.Time        `json:"unknownSince,omitempty"` // since when the node does not respond; the rest is what was known last
	Reason             string            `json:"reason,omitempty"`       // one word for programs
	Message            string            `json:"message,omitempty"`      // a sentence for people
	ObservedGeneration int64             `json:"observedGeneration"`
	Address            string            `json:"address,omitempty"` // in the first network
	Interfaces         []PodInterface    `json:"interfaces,omitempty"`
	Outside            []OutsideAddress  `json:"outside,omitempty"` // at which others reach the pod
	NodeName           string            `json:"nodeName,omitempty"`
	VMMOverheadMiB     int               `json:"vmmOverheadMiB"`
	Resources          *Resources        `json:"resources,omitempty"` // of the machine that runs; nil: those of the spec
	Restarts           int               `json:"restarts"`            // of the virtual machine itself
	Ready              bool              `json:"ready"`
	Containers         []ContainerStatus `json:"containers"`
	Timeline           Timeline          `json:"timeline"`
}

// CheckMemory checks that what the spec keeps in memory fits into the pod's. The error is about field, or if that is empty, about what does not fit.
// Codes: invalid.
func (s PodSpec) CheckMemory(field string) error {
	for i, v := range s.Volumes {
		if d := v.EmptyDir; d != nil && d.Memory && d.SizeMiB > s.Resources.MemoryMiB {
			return Errorf(CodeInvalid, cmp.Or(field, fmt.Sprintf("spec.volumes[%d].emptyDir.sizeMiB", i)),
				"volume %q is in memory and has %d MiB, and the pod has only %d MiB; reduce sizeMiB, or request more memory", v.Name, d.SizeMiB, s.Resources.MemoryMiB)
		}
	}
	if s.ShmSizeMiB > s.Resources.MemoryMiB {
		return Errorf(CodeInvalid, cmp.Or(field, "spec.shmSizeMiB"), "the containers share %d MiB of memory, and the pod has only %d MiB; reduce shmSizeMiB, or request more memory",
			s.ShmSizeMiB, s.Resources.MemoryMiB)
	}
	return nil
}

// OutsideAddress is a floating address that leads to a pod (package service/address).
type OutsideAddress struct {
	ID      uuid.UUID     `json:"id"`
	Name    string        `json:"name"`
	Address string        `json:"address"`
	Ports   []OutsidePort `json:"ports"` // none: all
}

// OutsidePort is a port of a floating address, and the pod's port to which it leads.
type OutsidePort struct {
	Protocol   string `json:"protocol"`
	Port       int    `json:"port"`
	TargetPort int    `json:"targetPort"`
}

// The states of a container.
const (
	ContainerWaiting = "Waiting"
	ContainerRunning = "Running"
	ContainerExited  = "Exited"
)

// ContainerStatus is what husk-init reports about one container.
type ContainerStatus struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	Message    string     `json:"message,omitempty"`
	Ready      *bool      `json:"ready,omitempty"` // nil: from an agent or guest of an earlier version
	ExitCode   *int       `json:"exitCode,omitempty"`
	Restarts   int        `json:"restarts"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`

	LastReason  string     `json:"lastReason,omitempty"`  // how the latest run ended, while the container waits for its restart
	NextStartAt *time.Time `json:"nextStartAt,omitempty"` // when the container is restarted
}

// Timeline is when the pod reached each step of its latest start. Each time comes from the clock of the program that took the step.
type Timeline struct {
	AcceptedAt         time.Time  `json:"acceptedAt"`
	PlacedAt           *time.Time `json:"placedAt,omitempty"`
	DomainStartingAt   *time.Time `json:"domainStartingAt,omitempty"`
	NetworkConnectedAt *time.Time `json:"networkConnectedAt,omitempty"`
	DomainStartedAt    *time.Time `json:"domainStartedAt,omitempty"`
	GuestReadyAt       *time.Time `json:"guestReadyAt,omitempty"`
	RunningAt          *time.Time `json:"runningAt,omitempty"`
}
