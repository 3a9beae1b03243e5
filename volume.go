// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// VolumeState is the state of a volume.
type VolumeState string

// The states of a volume.
const (
	VolumeCreating  VolumeState = "Creating"
	VolumeAvailable VolumeState = "Available"
	VolumeInUse     VolumeState = "InUse" // available and claimed by a pod; computed, never stored
	VolumeDeleting  VolumeState = "Deleting"
)

// The file systems of volumes.
const (
	FSExt4 = "ext4"
	FSXFS  = "xfs"
	FSNone = "none" // a block device
)

// Volume is an RBD image of a tenant, usually with a file system on it.
type Volume struct {
	ID        uuid.UUID         `json:"id"`
	TenantID  uuid.UUID         `json:"-"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	SizeGiB   int               `json:"sizeGiB"`
	FSType    string            `json:"fsType"`
	Encrypted bool              `json:"encrypted,omitempty"`
	Class     string            `json:"class,omitempty"` // empty: none
	State     VolumeState       `json:"state"`
	Message   string            `json:"message,omitempty"`
	PodID     *uuid.UUID        `json:"podId,omitempty"` // the pod that claims it
	Source    *VolumeSource     `json:"source,omitempty"`
	Schedule  *SnapshotSchedule `json:"snapshotSchedule,omitempty"`
	NextAt    *time.Time        `json:"nextSnapshotAt,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`

	// ProgressPercent is how much of the snapshot's data is copied, of a volume that is flattened.
	ProgressPercent *int `json:"progressPercent,omitempty"`

	// Upload is whether a request uploads the content.
	Upload bool `json:"-"`

	Unencrypted bool `json:"-"` // whether a request says that it is not encrypted

	Flatten bool `json:"-"` // whether it is to have all its data itself
}

// SnapshotSchedule says how often Husk takes a snapshot of a volume, and how many of them it keeps.
type SnapshotSchedule struct {
	EveryMinutes int `json:"everyMinutes"` // 0: never
	Keep         int `json:"keep,omitempty"`
}

// DefaultSnapshotsKept is how many snapshots a schedule keeps that does not say it.
const DefaultSnapshotsKept = 7

// VolumeClass is how much the disk of a volume can read and write. Operators define the classes.
type VolumeClass struct {
	Name string `json:"name"`
	DiskLimits
	Default   bool      `json:"default"`           // of volumes that name no class
	Volumes   *int      `json:"volumes,omitempty"` // only for operators
	CreatedAt time.Time `json:"createdAt"`
}

// DiskLimits is how much a disk can read and write. 0 means no limit.
type DiskLimits struct {
	IOPS         int `json:"iops"`
	MiBPerSecond int `json:"mibPerSecond"`
}

// VolumeSource is the snapshot that a volume is made from, and shares data with until it is flattened.
type VolumeSource struct {
	SnapshotID uuid.UUID `json:"snapshotId"`
}

// RBDName returns the name of the volume's RBD image.
func (v Volume) RBDName() string { return "vol-" + v.ID.String() }

// Serial returns the serial of the volume's disk in a virtual machine.
func (v Volume) Serial() string { return DiskSerial("vol", v.ID) }

// DiskSerial returns a disk's serial. virtio-blk allows 20 characters, so the serial contains 64 bits of the id.
func DiskSerial(kind string, id uuid.UUID) string {
	return kind + strings.ReplaceAll(id.String(), "-", "")[:16]
}

// SnapshotState is the state of a snapshot.
type SnapshotState string

// The states of a snapshot.
const (
	SnapshotCreating SnapshotState = "Creating"
	SnapshotReady    SnapshotState = "Ready"
	SnapshotFailed   SnapshotState = "Failed"
	SnapshotDeleting SnapshotState = "Deleting"
)

// Snapshot is the content of a volume at one moment. It does not change, and outlives its volume.
type Snapshot struct {
	ID              uuid.UUID         `json:"id"`
	TenantID        uuid.UUID         `json:"-"`
	Name            string            `json:"name"`
	Labels          map[string]string `json:"labels"`
	VolumeID        uuid.UUID         `json:"volumeId"` // the volume may be gone
	VolumeName      string            `json:"volumeName"`
	SizeGiB         int               `json:"sizeGiB"`
	FSType          string            `json:"fsType"`
	Encrypted       bool              `json:"encrypted,omitempty"` // with the key of its volume
	State           SnapshotState     `json:"state"`
	Message         string            `json:"message,omitempty"`
	ProgressPercent int               `json:"progressPercent"`      // how much of it is copied
	Consistent      bool              `json:"consistent,omitempty"` // taken while the file system is frozen
	Scheduled       bool              `json:"scheduled,omitempty"`  // by its volume's schedule
	TakenAt         *time.Time        `json:"takenAt,omitempty"`
	CreatedAt       time.Time         `json:"createdAt"`
}

// RBDName returns the name of the snapshot's RBD image.
func (s Snapshot) RBDName() string { return "snap-" + s.ID.String() }

// ViewName returns the name of the clone that pods attach read-only.
func (s Snapshot) ViewName() string { return "view-" + s.ID.String() }

// Serial returns the serial of the snapshot's disk in a virtual machine.
func (s Snapshot) Serial() string { return DiskSerial("snp", s.ID) }

// UnknownKind says what an unknown object is.
type UnknownKind string

// The kinds of unknown objects. An Image is the data of an image, or a tenant's clone of it.
const (
	UnknownVolume   UnknownKind = "Volume"
	UnknownSnapshot UnknownKind = "Snapshot"
	UnknownImage    UnknownKind = "Image"
)

// UnknownObject is an object in Ceph that the database has never known, such as a volume that is newer than the backup from which the database
// was restored.
type UnknownObject struct {
	Name     string      `json:"name"`
	Kind     UnknownKind `json:"kind"`
	FoundAt  time.Time   `json:"foundAt"`
	Approved bool        `json:"approved"` // an operator wants it to be removed
}
