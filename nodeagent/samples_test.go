package nodeagent

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/guest"
)

func TestAGuestThatLiesStaysWithinItsPod(t *testing.T) {
	t.Parallel()
	order := husk.DesiredPod{Resources: husk.Resources{MemoryMiB: 128}, Containers: []husk.DesiredContainer{{Name: "main"}}}
	const whole = 128 << 20
	for name, c := range map[string]struct {
		says guest.Stats
		want husk.GuestSample
	}{
		"an honest one": {
			guest.Stats{
				Pod:        guest.PodStats{MemoryTotal: 100 << 20, MemoryAvailable: 60 << 20, MemoryCached: 20 << 20},
				Containers: []guest.ContainerStats{{Name: "main", OOMKills: 2}},
			},
			husk.GuestSample{MemoryUsedBytes: 40 << 20, MemoryCachedBytes: 20 << 20, OOMKills: 2},
		},
		"one that has more than there is": {
			guest.Stats{Pod: guest.PodStats{MemoryTotal: math.MaxUint64, MemoryCached: math.MaxUint64}},
			husk.GuestSample{MemoryUsedBytes: whole, MemoryCachedBytes: whole},
		},
		"one whose container was started again": {
			guest.Stats{Pod: guest.PodStats{OOMKills: 3}, Containers: []guest.ContainerStats{{Name: "main", OOMKills: 1}}}, husk.GuestSample{OOMKills: 3},
		},
		"one that uses less than nothing": {
			guest.Stats{Pod: guest.PodStats{MemoryTotal: 1, MemoryAvailable: math.MaxUint64}}, husk.GuestSample{},
		},
		"one with containers that nobody ordered": {
			guest.Stats{Containers: []guest.ContainerStats{{Name: "main", OOMKills: math.MaxUint64}, {Name: "other", OOMKills: 1}}},
			husk.GuestSample{OOMKills: 1 << 53},
		},
	} {
		if diff := cmp.Diff(&c.want, guestSample(c.says, order)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
