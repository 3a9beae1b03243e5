// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"time"

	"github.com/google/uuid"
)

// ImageState is the state of a tenant's image.
type ImageState string

// The states of an image.
const (
	ImageImporting ImageState = "Importing"
	ImageReady     ImageState = "Ready"
	ImageFailed    ImageState = "Failed"
	ImageDeleting  ImageState = "Deleting"
)

// Image is an OCI image that a tenant has imported. Each tenant has its own clone of the image.
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

	Progress *ImportProgress `json:"progress,omitempty"` // only while importing, once the first attempt has begun
	Shown    *ImageConfig    `json:"config,omitempty"`   // Config, in the response for one image
}

// ImportProgress is how much of an image has been fetched from its registry.
type ImportProgress struct {
	FetchedBytes int64 `json:"fetchedBytes"`
	TotalBytes   int64 `json:"totalBytes"` // of the compressed layers, according to the manifest
}

// CloneName returns the name of the RBD clone through which the tenant's pods read the image.
func (i Image) CloneName() string { return "img-" + i.ID.String() }

// ImageConfig is the part of an OCI image configuration that containers start from.
type ImageConfig struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
	// SetsPrivileges is whether the image has set-user-ID or set-group-ID files, or files with capabilities. Images that an earlier version
	// imported do not say.
	SetsPrivileges *bool `json:"setsPrivileges,omitempty"`
}
