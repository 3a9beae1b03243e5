// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"husk/guest"
)

// TestContainersCanUseWhatTheirPodAsksFor boots pods as an agent does, and allocates 95 % of their memory at once.
func TestContainersCanUseWhatTheirPodAsksFor(t *testing.T) {
	t.Parallel()
	image := makeImage(t, entry{name: "bin/dd", link: "busybox"})
	for _, test := range []struct{ pod, limit, allocates, code int }{
		{pod: 32, allocates: 30, code: 0},
		{pod: 96, allocates: 92, code: 0},
		{pod: 192, allocates: 182, code: 0},
		{pod: 192, limit: 96, allocates: 92, code: 0},
		{pod: 192, limit: 96, allocates: 100, code: 137},
	} {
		t.Run(fmt.Sprintf("%d of %d MiB, limit %d", test.allocates, test.pod, test.limit), func(t *testing.T) {
			t.Parallel()
			v := bootVM(t, strconv.Itoa(test.pod+buildArtifacts(t).kernel.ShareMiB), []disk{{image, "image-1", true}})
			c := v.dial(t)
			spec := guest.Spec{PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartNever, Containers: []guest.Container{{
				Name: "main", ImageSerial: "image-1", Args: []string{"dd", "if=/dev/zero", "of=/dev/null", fmt.Sprintf("bs=%dM", test.allocates), "count=1"},
				Options: guest.Options{Limits: guest.Limits{MemoryMiB: test.limit}},
			}}}
			if _, err := c.Start(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			ended := waitStatus(t, c, "the pod has ended", func(s guest.Status) bool { return s.Phase == guest.PhaseSucceeded || s.Phase == guest.PhaseFailed })
			if got := ended.Containers[0]; got.ExitCode != test.code || got.OOMKilled != (test.code != 0) {
				t.Errorf("exit code %d, killed for its memory: %v; want %d: %s", got.ExitCode, got.OOMKilled, test.code, logsOf(t, c, "main")[guest.Stderr])
			}
			if err := c.Stop(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
			v.waitOff(t)
		})
	}
}
