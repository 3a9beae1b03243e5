// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
)

func TestASpecGetsItsDefaults(t *testing.T) {
	t.Parallel()
	spec := husk.PodSpec{Containers: []husk.Container{{Name: "a", Image: "x", Files: []husk.File{{Path: "/etc/a"}, {Path: "/etc/b", Mode: "0600"}}}}}
	if err := Complete(&spec); err != nil {
		t.Fatal(err)
	}
	want := husk.PodSpec{
		RestartPolicy: husk.RestartAlways,
		Containers:    []husk.Container{{Name: "a", Image: "x", Files: []husk.File{{Path: "/etc/a", Mode: "0644"}, {Path: "/etc/b", Mode: "0600"}}}},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("the spec (-want +got):\n%s", diff)
	}
}

func TestASpecThatContradictsItselfIsRefused(t *testing.T) {
	t.Parallel()
	one, two := uuid.New(), uuid.New()
	mount := func(volume, path string) husk.VolumeMount { return husk.VolumeMount{Volume: volume, MountPath: path} }
	container := func(change func(c *husk.Container)) husk.PodSpec {
		c := husk.Container{Name: "a", Image: "x"}
		change(&c)
		return husk.PodSpec{Containers: []husk.Container{c}, Volumes: []husk.PodVolume{{Name: "data", VolumeID: one}}}
	}
	for name, c := range map[string]struct {
		spec  husk.PodSpec
		code  husk.Code
		field string
	}{
		"two containers with one name": {husk.PodSpec{Containers: []husk.Container{{Name: "a"}, {Name: "b"}, {Name: "a"}}}, husk.CodeInvalid, "spec.containers[2].name"},
		"two volumes with one name":    {husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: one}, {Name: "v", VolumeID: two}}}, husk.CodeInvalid, "spec.volumes[1].name"},
		"two kinds of volume":          {husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: one, EmptyDir: &husk.EmptyDir{}}}}, husk.CodeInvalid, "spec.volumes[0]"},
		"an empty directory that is larger than the memory": {husk.PodSpec{
			Resources: husk.Resources{MemoryMiB: 64}, Volumes: []husk.PodVolume{{Name: "v", EmptyDir: &husk.EmptyDir{Memory: true, SizeMiB: 65}}},
		}, husk.CodeInvalid, "spec.volumes[0].emptyDir.sizeMiB"},
		"a size of a disk for a pod without one":       {husk.PodSpec{EphemeralStorage: husk.StorageMemory, EphemeralStorageGiB: 1}, husk.CodeInvalid, "spec.ephemeralStorageGiB"},
		"shared memory that is larger than the memory": {husk.PodSpec{Resources: husk.Resources{MemoryMiB: 64}, ShmSizeMiB: 65}, husk.CodeInvalid, "spec.shmSizeMiB"},
		"one volume twice":                             {husk.PodSpec{Volumes: []husk.PodVolume{{Name: "v", VolumeID: one}, {Name: "w", VolumeID: one}}}, husk.CodeInvalid, "spec.volumes[1].volumeId"},
		"a mount of an unknown volume":                 {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("other", "/a")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].volume"},
		"two mounts at one path":                       {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a"), mount("data", "/a")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[1].mountPath"},
		"a mount over the root":                        {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a mount that goes up":                         {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a/../../b")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a mount with a trailing slash":                {container(func(c *husk.Container) { c.VolumeMounts = []husk.VolumeMount{mount("data", "/a/")} }), husk.CodeInvalid, "spec.containers[0].volumeMounts[0].mountPath"},
		"a file with a zero byte":                      {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a\x00b"}} }), husk.CodeInvalid, "spec.containers[0].files[0].path"},
		"a file where a volume is mounted": {container(func(c *husk.Container) {
			c.VolumeMounts, c.Files = []husk.VolumeMount{mount("data", "/a")}, []husk.File{{Path: "/a"}}
		}), husk.CodeInvalid, "spec.containers[0].files[0].path"},
		"a file with two contents":                   {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a", Content: "x", ContentBase64: "eA=="}} }), husk.CodeInvalid, "spec.containers[0].files[0]"},
		"a file that is not base64":                  {container(func(c *husk.Container) { c.Files = []husk.File{{Path: "/a", ContentBase64: "eA="}} }), husk.CodeInvalid, "spec.containers[0].files[0].contentBase64"},
		"a zero byte in a command":                   {container(func(c *husk.Container) { c.Command = []string{"a\x00"} }), husk.CodeInvalid, "spec.containers[0]"},
		"a zero byte in a value":                     {container(func(c *husk.Container) { c.Env = []husk.EnvVar{{Name: "A", Value: "\x00"}} }), husk.CodeInvalid, "spec.containers[0]"},
		"an init container with the name of another": {husk.PodSpec{InitContainers: []husk.Container{{Name: "a"}}, Containers: []husk.Container{{Name: "a"}}}, husk.CodeInvalid, "spec.containers[0].name"},
		"too many containers":                        {husk.PodSpec{InitContainers: make([]husk.Container, 10), Containers: make([]husk.Container, 7)}, husk.CodeInvalid, "spec.initContainers"},
		"an init container with a probe": {husk.PodSpec{
			InitContainers: []husk.Container{{Name: "a", ContainerOptions: husk.ContainerOptions{StartupProbe: &husk.Probe{TCPPort: 1}}}}, Containers: []husk.Container{{Name: "b"}},
		}, husk.CodeInvalid, "spec.initContainers[0].startupProbe"},
		"an init container with a hook": {husk.PodSpec{
			InitContainers: []husk.Container{{Name: "a", ContainerOptions: husk.ContainerOptions{PreStop: &husk.Hook{SleepSeconds: 1}}}}, Containers: []husk.Container{{Name: "b"}},
		}, husk.CodeInvalid, "spec.initContainers[0].preStop"},
		"a probe that does nothing": {container(func(c *husk.Container) { c.LivenessProbe = &husk.Probe{} }), husk.CodeInvalid, "spec.containers[0].livenessProbe"},
		"a probe that does two things": {container(func(c *husk.Container) {
			c.LivenessProbe = &husk.Probe{TCPPort: 1, Exec: []string{"true"}}
		}), husk.CodeInvalid, "spec.containers[0].livenessProbe"},
		"two successes of a liveness probe": {container(func(c *husk.Container) {
			c.LivenessProbe = &husk.Probe{TCPPort: 1, SuccessThreshold: 2}
		}), husk.CodeInvalid, "spec.containers[0].livenessProbe.successThreshold"},
		"the grace period of a readiness probe": {container(func(c *husk.Container) {
			c.ReadinessProbe = &husk.Probe{TCPPort: 1, GracePeriodSeconds: 2}
		}), husk.CodeInvalid, "spec.containers[0].readinessProbe.terminationGracePeriodSeconds"},
		"a hook that does nothing":                      {container(func(c *husk.Container) { c.PostStart = &husk.Hook{} }), husk.CodeInvalid, "spec.containers[0].postStart"},
		"a zero byte in a probe":                        {container(func(c *husk.Container) { c.LivenessProbe = &husk.Probe{Exec: []string{"\x00"}} }), husk.CodeInvalid, "spec.containers[0]"},
		"a privileged container without new privileges": {container(func(c *husk.Container) { c.Privileged, c.NoNewPrivileges = true, new(true) }), husk.CodeInvalid, "spec.containers[0].noNewPrivileges"},
		"a privileged container without capabilities": {container(func(c *husk.Container) {
			c.Privileged, c.CapabilitiesDrop = true, []string{"ALL"}
		}), husk.CodeInvalid, "spec.containers[0].capabilitiesDrop"},
		"a maximum of restarts without failures": {container(func(c *husk.Container) { c.MaxRestarts, c.RestartPolicy = 3, husk.RestartAlways }), husk.CodeInvalid, "spec.containers[0].maxRestarts"},
		"a maximum of restarts of any kind":      {container(func(c *husk.Container) { c.MaxRestarts = 3 }), husk.CodeInvalid, "spec.containers[0].maxRestarts"},
		"a ulimit twice": {container(func(c *husk.Container) {
			c.Ulimits = []husk.Ulimit{{Name: "nofile", Soft: 1, Hard: 1}, {Name: "core", Soft: -1, Hard: -1}, {Name: "nofile", Soft: 2, Hard: 2}}
		}), husk.CodeInvalid, "spec.containers[0].ulimits[2].name"},
		"a soft limit above the hard one":    {container(func(c *husk.Container) { c.Ulimits = []husk.Ulimit{{Name: "nofile", Soft: 2, Hard: 1}} }), husk.CodeInvalid, "spec.containers[0].ulimits[0].soft"},
		"no soft limit, although a hard one": {container(func(c *husk.Container) { c.Ulimits = []husk.Ulimit{{Name: "nofile", Soft: -1, Hard: 1}} }), husk.CodeInvalid, "spec.containers[0].ulimits[0].soft"},
		"a message in a directory":           {container(func(c *husk.Container) { c.TerminationMessagePath = "/a/../b" }), husk.CodeInvalid, "spec.containers[0].terminationMessagePath"},
		"stdinOnce without stdin":            {container(func(c *husk.Container) { c.StdinOnce = true }), husk.CodeInvalid, "spec.containers[0].stdinOnce"},
	} {
		err := Complete(&c.spec)
		if e, ok := errors.AsType[*husk.Error](err); !ok || e.Code != c.code || e.Field != c.field {
			t.Errorf("%s: the error is %v, want %s about %s", name, err, c.code, c.field)
		}
	}
}
