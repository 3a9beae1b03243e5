// SPDX-License-Identifier: Apache-2.0

// Package volumes tests what volumes can do, with the real Ceph and virtual machines. All tests share one stack.
package volumes

import (
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// with returns a change for Create: the pod has one container, which has the volume at /data and runs a script.
func with(data openapi.PodVolume, image, script string) func(*openapi.PodSpec) {
	return func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		c := stack.Shell(image, script)
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: data.Name, MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
	}
}
