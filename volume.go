// SPDX-License-Identifier: Apache-2.0

package husk

import (
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

// Volume is an RBD image of a tenant with a file system on it.
type Volume struct {
	ID        uuid.UUID         `json:"id"`
	TenantID  uuid.UUID         `json:"-"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	SizeGiB   int               `json:"sizeGiB"`
	State     VolumeState       `json:"state"`
	Message   string            `json:"message,omitempty"`
	PodID     *uuid.UUID        `json:"podId,omitempty"` // the pod that claims it
	CreatedAt time.Time         `json:"createdAt"`
}

// RBDName returns the name of the volume's RBD image.
func (v Volume) RBDName() string { return "vol-" + v.ID.String() }
