// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"husk/openapi"
)

// kubernetesClaim is a PersistentVolumeClaim, which becomes a volume.
type kubernetesClaim struct {
	header

	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		AccessModes []string `json:"accessModes"`
		VolumeMode  string   `json:"volumeMode"`
		Resources   struct {
			Requests struct {
				Storage memoryQuantity `json:"storage"`
			} `json:"requests"`
		} `json:"resources"`
	} `json:"spec"`
}

func (c kubernetesClaim) translate(d *decoder, origins map[string]string) *openapi.VolumeCreate {
	if d.err() != nil {
		return nil
	}
	d.checkName("metadata.name", c.Metadata.Name)
	for i, mode := range c.Spec.AccessModes {
		if mode != "ReadWriteOnce" && mode != "ReadWriteOncePod" {
			d.refuse(fmt.Sprintf("spec.accessModes[%d]", i), "only one pod at a time can use a volume; use ReadWriteOnce")
		}
	}
	bytes := int64(c.Spec.Resources.Requests.Storage)
	if bytes == 0 {
		d.refuse("spec.resources.requests.storage", "no size given; add one, such as 10Gi")
	}
	origins["name"], origins["labels"], origins["sizeGiB"] = "metadata.name", "metadata.labels", "spec.resources.requests.storage"
	out := openapi.VolumeCreate{Name: c.Metadata.Name, SizeGiB: int((bytes-1)>>30 + 1)}
	switch c.Spec.VolumeMode {
	case "", "Filesystem":
	case "Block":
		out.FsType = new(openapi.FSTypeNone)
	default:
		d.refuse("spec.volumeMode", "expected Filesystem or Block")
	}
	if len(c.Metadata.Labels) > 0 {
		labels := openapi.Labels(maps.Clone(c.Metadata.Labels))
		out.Labels = &labels
	}
	return &out
}

// claimFields are the fields of a claim that Husk ignores, with a warning.
var claimFields = map[string]string{
	"metadata.namespace":    "ignored: " + noNamespaces,
	"metadata.annotations":  "ignored: only pods have annotations",
	"metadata.finalizers":   "ignored: Husk has no finalizers",
	"spec.storageClassName": "ignored: the volume gets the default volume class",
	"spec.volumeName":       "ignored: Husk creates a new volume",
}

func judgeClaimField(path string, value *yaml.Node) (refusal, warning string) {
	warning, known := claimFields[path]
	switch {
	case isEmpty(value), slices.Contains(bookkeeping, path):
		return "", ""
	case known:
		return "", warning
	case path == "spec.resources.limits":
		return "a volume has one size; set requests.storage", ""
	}
	return "Husk has no counterpart for this field; leave the field out", ""
}
