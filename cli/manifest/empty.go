// SPDX-License-Identifier: Apache-2.0

package manifest

import "husk/openapi"

// kubernetesEmptyDir is a directory that is empty when the pod starts.
type kubernetesEmptyDir struct {
	Medium    string         `json:"medium"`
	SizeLimit memoryQuantity `json:"sizeLimit"`
}

func (t *translation) emptyDir(d *kubernetesEmptyDir, at string) *openapi.EmptyDir {
	out := new(openapi.EmptyDir)
	switch d.Medium {
	case "":
	case "Memory":
		yes := true
		out.Memory = &yes
	default:
		t.refuse(at+".medium", "expected Memory; leave the field out for a directory that is not in memory")
	}
	if d.SizeLimit > 0 {
		size := int(mebibytes(d.SizeLimit))
		out.SizeMiB = &size
	}
	return out
}
