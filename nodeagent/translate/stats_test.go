// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/guest"
	"husk/nodeagent/vm"
)

func TestFalseSamplesOfAGuestAreLimited(t *testing.T) {
	t.Parallel()
	desired := husk.DesiredPod{
		Resources: husk.Resources{MemoryMiB: 128}, Containers: []husk.DesiredContainer{{Name: "main", ImageSerial: "image"}},
		Volumes: []husk.DesiredVolume{{Name: "data", Serial: "vol1"}}, ScratchGiB: 1,
	}
	const whole = 128 << 20
	for name, c := range map[string]struct {
		says guest.Stats
		want husk.GuestSample
	}{
		"an honest guest": {
			guest.Stats{
				Pod:        guest.PodStats{MemoryTotal: 100 << 20, MemoryAvailable: 60 << 20, MemoryCached: 20 << 20},
				Containers: []guest.ContainerStats{{Name: "main", OOMKills: 2}},
			},
			husk.GuestSample{MemoryUsedBytes: 40 << 20, MemoryCachedBytes: 20 << 20, OOMKills: 2},
		},
		"a guest that uses more than it has": {
			guest.Stats{Pod: guest.PodStats{MemoryTotal: math.MaxUint64, MemoryCached: math.MaxUint64}},
			husk.GuestSample{MemoryUsedBytes: whole, MemoryCachedBytes: whole},
		},
		"a guest whose container was restarted": {
			guest.Stats{Pod: guest.PodStats{OOMKills: 3}, Containers: []guest.ContainerStats{{Name: "main", OOMKills: 1}}}, husk.GuestSample{OOMKills: 3},
		},
		"a guest with negative usage": {
			guest.Stats{Pod: guest.PodStats{MemoryTotal: 1, MemoryAvailable: math.MaxUint64}}, husk.GuestSample{},
		},
		"a guest with containers that are not in its spec": {
			guest.Stats{Containers: []guest.ContainerStats{{Name: "main", OOMKills: math.MaxUint64}, {Name: "other", OOMKills: 1}}},
			husk.GuestSample{OOMKills: 1 << 53},
		},
		"a guest with disks that are not in its spec": {
			guest.Stats{Disks: []guest.DiskStats{
				{Serial: "vol1", FileSystem: &guest.FileSystemStats{UsedBytes: 1, CapacityBytes: math.MaxUint64}},
				{Serial: "vol1", FileSystem: &guest.FileSystemStats{UsedBytes: 2}},
				{Serial: "vol2", FileSystem: &guest.FileSystemStats{}},
				{Serial: "image", FileSystem: &guest.FileSystemStats{}},
				{Serial: vm.ScratchSerial, FileSystem: &guest.FileSystemStats{UsedBytes: 3, CapacityBytes: 4}},
			}},
			husk.GuestSample{FileSystems: []husk.FileSystemSample{{Volume: "data", UsedBytes: 1, CapacityBytes: 1 << 53}, {UsedBytes: 3, CapacityBytes: 4}}},
		},
	} {
		if diff := cmp.Diff(&c.want, GuestSample(c.says, desired)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
