// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
)

// A node's agent of an earlier version would ignore what it does not know.
func TestAPodNeedsTheCapabilitiesOfWhatItsSpecUses(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	for name, c := range map[string]struct {
		change func(*husk.PodSpec)
		want   []string
	}{
		"nothing":                 {func(*husk.PodSpec) {}, []string{}},
		"a size of the disk":      {func(s *husk.PodSpec) { s.EphemeralStorageGiB = 20 }, []string{husk.CapabilityScratch}},
		"no disk":                 {func(s *husk.PodSpec) { s.EphemeralStorage = husk.StorageMemory }, []string{}},
		"a host name":             {func(s *husk.PodSpec) { s.Hostname = "web" }, []string{husk.CapabilityHostSettings}},
		"a kernel parameter":      {func(s *husk.PodSpec) { s.Sysctls = []husk.Sysctl{{Name: "net.core.somaxconn"}} }, []string{husk.CapabilityHostSettings}},
		"a size of shared memory": {func(s *husk.PodSpec) { s.ShmSizeMiB = 64 }, []string{husk.CapabilitySharedMemory}},
		"an empty directory":      {func(s *husk.PodSpec) { s.Volumes = []husk.PodVolume{{Name: "v", EmptyDir: &husk.EmptyDir{}}} }, []string{husk.CapabilityEmptyDirs}},
		"privileged":              {func(s *husk.PodSpec) { s.Containers[0].Privileged = true }, []string{husk.CapabilityPrivileged}},
		"privileged init container": {func(s *husk.PodSpec) {
			s.InitContainers = []husk.Container{{Name: "first", Image: image.Reference, Privileged: true}}
		}, []string{husk.CapabilityContainerOptions, husk.CapabilityPrivileged}},
		"a block device": {func(s *husk.PodSpec) {
			v, err := h.as(tenant.ID).AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, FSType: husk.FSNone})
			must(t, v, err)
			s.Volumes = []husk.PodVolume{{Name: "v", VolumeID: v.ID}}
			s.Containers[0].VolumeDevices = []husk.VolumeDevice{{Volume: "v", DevicePath: "/dev/xvda"}}
		}, []string{husk.CapabilityContainerOptions, husk.CapabilityVolumeKinds}},
		"an encrypted volume": {func(s *husk.PodSpec) {
			v, err := h.as(tenant.ID).AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, Encrypted: true})
			must(t, v, err)
			s.Volumes = []husk.PodVolume{{Name: "v", VolumeID: v.ID}}
		}, []string{husk.CapabilityEncryption}},
		"a volume with xfs": {func(s *husk.PodSpec) {
			v, err := h.as(tenant.ID).AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: 1, FSType: husk.FSXFS})
			must(t, v, err)
			s.Volumes = []husk.PodVolume{{Name: "v", VolumeID: v.ID}}
		}, []string{husk.CapabilityVolumeKinds}},
		"probe":        {func(s *husk.PodSpec) { s.Containers[0].LivenessProbe = &husk.Probe{TCPPort: 1} }, []string{husk.CapabilityContainerOptions}},
		"init process": {func(s *husk.PodSpec) { s.Containers[0].InitProcess = true }, []string{husk.CapabilityInitProcess, husk.CapabilityContainerOptions}},
		"restarts": {func(s *husk.PodSpec) {
			s.Containers[0].RestartPolicy, s.Containers[0].MaxRestarts = husk.RestartOnFailure, 3
		}, []string{husk.CapabilityInitProcess, husk.CapabilityContainerOptions}},
		"owner":      {func(s *husk.PodSpec) { s.Containers[0].Files = []husk.File{{Path: "/a", UID: 1}} }, []string{husk.CapabilityContainerOptions}},
		"mode":       {func(s *husk.PodSpec) { s.Containers[0].Files = []husk.File{{Path: "/a", Mode: "0000"}} }, []string{husk.CapabilityContainerOptions}},
		"other mode": {func(s *husk.PodSpec) { s.Containers[0].Files = []husk.File{{Path: "/a", Mode: "0600"}} }, []string{}},
	} {
		spec := specOf(image)
		c.change(&spec)
		pod := h.createPod(tenant, spec)
		pending, err := h.PendingPods(t.Context(), 100)
		for _, p := range must(t, pending, err) {
			if p.ID == pod.ID && !cmp.Equal(c.want, p.Needs) {
				t.Errorf("%s: needs %q, want %q", name, p.Needs, c.want)
			}
		}
	}
}

// Whether an image has programs that set privileges is known only after its import.
func TestAnImportRecordsWhetherTheImageSetsPrivileges(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	for _, sets := range []bool{true, false} {
		config := husk.ImageConfig{Cmd: []string{"true"}}
		image, err := h.as(tenant.ID).CreateImage(t.Context(), once(), named("image"), named("digest"), config, nil)
		must(t, image, err)
		if err := h.ImageMade(t.Context(), image, 1, sets, "abc", nil); err != nil {
			t.Fatal(err)
		}
		image, err = h.as(tenant.ID).Image(t.Context(), image.ID)
		config.SetsPrivileges = &sets
		if diff := cmp.Diff(config, must(t, image, err).Config); diff != "" {
			t.Errorf("the configuration (-want +got):\n%s", diff)
		}
	}
}
