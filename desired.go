// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// DesiredState is everything that a node should run. Revision grows with every change, within an incarnation of the database; an agent refuses
// what is older. With Since, it is only what has changed since that revision.
type DesiredState struct {
	Revision    int64        `json:"revision"`
	Incarnation Incarnation  `json:"incarnation,omitempty"`
	Since       *int64       `json:"since,omitempty"`
	Pods        []DesiredPod `json:"pods"`
	RemovedPods []uuid.UUID  `json:"removedPods,omitempty"`
	NextPod     *uuid.UUID   `json:"nextPod,omitempty"` // the first pod of the next part of a whole state
}

// With returns the state after the changes. Changes that are a whole state replace it.
func (s DesiredState) With(changes DesiredState) DesiredState {
	if changes.Since == nil {
		return changes
	}
	replaced := make(map[uuid.UUID]bool, len(changes.Pods)+len(changes.RemovedPods))
	for _, p := range changes.Pods {
		replaced[p.ID] = true
	}
	for _, id := range changes.RemovedPods {
		replaced[id] = true
	}
	now := DesiredState{Revision: changes.Revision, Incarnation: changes.Incarnation, Pods: make([]DesiredPod, 0, len(s.Pods)+len(changes.Pods))}
	for _, p := range s.Pods {
		if !replaced[p.ID] {
			now.Pods = append(now.Pods, p)
		}
	}
	now.Pods = append(now.Pods, changes.Pods...)
	return now
}

// Incarnation names the database that a desired state comes from: SYSTEM/DATABASE/TIMELINE. It changes when a backup is restored or a standby is
// promoted. Servers and agents of earlier versions do not know it: it is empty.
type Incarnation string

// NewerThan reports whether this is certainly another database, or a later timeline of the same one. An earlier timeline is that of a primary that
// has been replaced.
func (i Incarnation) NewerThan(known Incarnation) bool {
	if i == "" || known == "" {
		return false
	}
	is, was := strings.LastIndexByte(string(i), '/'), strings.LastIndexByte(string(known), '/')
	if is < 0 || was < 0 || i[:is] != known[:was] {
		return i != known
	}
	now, err := strconv.ParseUint(string(i[is+1:]), 10, 32)
	before, err2 := strconv.ParseUint(string(known[was+1:]), 10, 32)
	return err == nil && err2 == nil && now > before
}

// OlderThan reports whether an agent that has seen this state must refuse s.
func (s DesiredState) OlderThan(incarnation Incarnation, revision int64) bool {
	switch {
	case s.Incarnation.NewerThan(incarnation):
		return false
	case incarnation.NewerThan(s.Incarnation):
		return true
	default:
		return s.Revision < revision
	}
}

// DesiredPodState is what a node should do with a pod.
type DesiredPodState string

// The desired states of a pod.
const (
	DesiredRunning  DesiredPodState = "Running"  // keep it up
	DesiredIncoming DesiredPodState = "Incoming" // it still runs on another node: receive it from there, or start it
	DesiredFinished DesiredPodState = "Finished" // it has ended: keep its logs and run nothing
	DesiredGone     DesiredPodState = "Gone"     // stop it, remove everything that belongs to it and report it as gone
)

// DesiredPod is what a node needs to know about a pod, with images and users resolved.
type DesiredPod struct {
	ID                 uuid.UUID          `json:"id"`
	TenantID           uuid.UUID          `json:"tenantId"`
	Name               string             `json:"name"`
	Placement          int64              `json:"placement,omitempty"` // 0 if it began before placements had numbers
	Generation         int64              `json:"generation"`
	State              DesiredPodState    `json:"state"`
	Resources          Resources          `json:"resources"`
	VMMOverheadMiB     int                `json:"vmmOverheadMiB"`
	Network            DesiredNetwork     `json:"network"`
	MoreNetworks       []DesiredNetwork   `json:"moreNetworks,omitempty"` // in which the pod is, too
	Disks              []DesiredDisk      `json:"disks"`
	Ceph               CephAccess         `json:"ceph"`
	Containers         []DesiredContainer `json:"containers"`
	Volumes            []DesiredVolume    `json:"volumes"`
	RestartPolicy      RestartPolicy      `json:"restartPolicy"`
	FSGroup            *uint32            `json:"fsGroup,omitempty"`
	ShmSizeMiB         int                `json:"shmSizeMiB,omitempty"`
	ScratchGiB         int                `json:"scratchGiB,omitempty"` // size of the scratch disk; 0: containers write to memory
	GracePeriodSeconds int                `json:"terminationGracePeriodSeconds"`
	DeadlineSeconds    int                `json:"activeDeadlineSeconds,omitempty"`
	HostSettings
	From *MovePeer `json:"from,omitempty"` // the node from which an incoming pod comes with its memory
	To   *MovePeer `json:"to,omitempty"`   // the node to which the pod goes with its memory
	// ValuesError says why values of configs are missing here. A pod that runs keeps those that it has, and others do not start.
	ValuesError string `json:"valuesError,omitempty"`
}

// MovePeer is the node at the other end of a move with memory.
type MovePeer struct {
	NodeID    uuid.UUID `json:"nodeId"`
	Placement int64     `json:"placement"` // that the pod has there
	Endpoint  string    `json:"endpoint"`  // the URL of its agent
}

// Networks returns all networks of the pod, the first one first.
func (p DesiredPod) Networks() []DesiredNetwork {
	return append([]DesiredNetwork{p.Network}, p.MoreNetworks...)
}

// DesiredNetwork is a network that an interface of the pod belongs to.
type DesiredNetwork struct {
	ID       uuid.UUID `json:"id"`
	Address  string    `json:"address"` // with prefix length
	Gateway  string    `json:"gateway"` // empty: the network has no router
	Address6 string    `json:"ipv6Address,omitempty"`
	Gateway6 string    `json:"ipv6Gateway,omitempty"`
	MAC      string    `json:"mac"`
	// NamesSuffix is the end of the names of the tenant's pods and services. Servers of earlier versions do not know it.
	NamesSuffix string `json:"namesSuffix,omitempty"`
}

// DesiredDisk is one RBD image to attach.
type DesiredDisk struct {
	Pool     string `json:"pool"`
	Name     string `json:"name"`
	Serial   string `json:"serial"` // the guest finds the disk by it; virtio-blk allows at most 20 characters
	ReadOnly bool   `json:"readOnly"`
	// SizeGiB is the size that the machine should see, of a volume. A volume that has grown is larger than when the machine started.
	SizeGiB int `json:"sizeGiB,omitempty"`
	// Passphrase opens a disk that is encrypted with LUKS. Empty: it is not encrypted.
	Passphrase Secret `json:"passphrase,omitempty"`
	// Limits are those of the volume's class. nil: the disk shares the limits of the pod with its other disks.
	Limits *DiskLimits `json:"limits,omitempty"`
}

// Secret is a text that is not printed: formatting and logs show that there is one.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(secret)"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// CephAccess is a cephx key that can open this pod's disks and nothing else.
type CephAccess struct {
	Monitors []string `json:"monitors"`
	User     string   `json:"user"`
	Key      string   `json:"key"`
}

// DesiredContainer is a container with the argument vector and environment that result from its image and the pod's spec.
type DesiredContainer struct {
	Name          string        `json:"name"`
	ImageSerial   string        `json:"imageSerial"`
	Args          []string      `json:"args"`
	Env           []string      `json:"env"`
	WorkingDir    string        `json:"workingDir"`
	User          string        `json:"user"`
	StopSignal    string        `json:"stopSignal"`
	Files         []File        `json:"files"`
	VolumeMounts  []VolumeMount `json:"volumeMounts"`
	Stdin         bool          `json:"stdin,omitempty"`
	StdinOnce     bool          `json:"stdinOnce,omitempty"`
	StartOnAttach bool          `json:"startOnAttach,omitempty"`
	TTY           bool          `json:"tty,omitempty"`
	Privileged    bool          `json:"privileged,omitempty"`
	Init          bool          `json:"init,omitempty"`
	ContainerOptions
}

// DesiredVolume gives a disk, files in memory or an empty directory the name that the pod's spec uses for the volume.
type DesiredVolume struct {
	Name     string       `json:"name"`
	Serial   string       `json:"serial"`           // empty if it has no disk
	FSType   string       `json:"fsType,omitempty"` // of a disk; empty: FSExt4
	ReadOnly bool         `json:"readOnly,omitempty"`
	Files    []VolumeFile `json:"files,omitempty"`
	EmptyDir *EmptyDir    `json:"emptyDir,omitempty"`
}

// VolumeFile is a file of a volume in memory.
type VolumeFile struct {
	Path          string `json:"path"` // relative to the mount point
	ContentBase64 string `json:"contentBase64,omitempty"`
	Mode          string `json:"mode"`
}

// PodReport is one report of an agent about one pod on its node.
type PodReport struct {
	PodID              uuid.UUID         `json:"podId"`
	Placement          int64             `json:"placement,omitempty"` // 0 if the agent does not know placements
	Generation         int64             `json:"generation"`
	Event              PhaseEvent        `json:"event"`
	Reason             string            `json:"reason,omitempty"`
	Message            string            `json:"message,omitempty"`
	Restarts           int               `json:"restarts"`
	Containers         []ContainerStatus `json:"containers"`
	DomainStartingAt   *time.Time        `json:"domainStartingAt,omitempty"`
	NetworkConnectedAt *time.Time        `json:"networkConnectedAt,omitempty"`
	DomainStartedAt    *time.Time        `json:"domainStartedAt,omitempty"`
	GuestReadyAt       *time.Time        `json:"guestReadyAt,omitempty"`
	RunningAt          *time.Time        `json:"runningAt,omitempty"`
}

// KeyHolder returns the name by which Ceph knows the key of a placement: the pod's id and the placement's number. Number 0, from before
// placements had numbers, adds nothing.
func KeyHolder(pod uuid.UUID, placement int64) string {
	if placement == 0 {
		return pod.String()
	}
	return pod.String() + "." + strconv.FormatInt(placement, 10)
}
