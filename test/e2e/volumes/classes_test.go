// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// A class limits the disk of its volumes, also of a pod that runs when the class or its limits change. The pod's other disks have their own limit.
func TestAVolumeClassLimitsARunningPod(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	ctx, operator := t.Context(), tn.Operator
	slow, fast := "slow-"+tn.ID.String()[:8], "fast-"+tn.ID.String()[:8]
	put := func(name string, iops int) {
		t.Helper()
		if _, err := operator.Volumes.PutClass(ctx, name, openapi.VolumeClassPut{Iops: iops, MibPerSecond: 50}); err != nil {
			t.Fatal(err)
		}
	}
	put(slow, 20)
	put(fast, 400)
	v, err := tn.API.Volumes.Create(ctx, openapi.VolumeCreate{Name: "data", SizeGiB: 1, FsType: new(openapi.FSTypeNone), Class: &slow})
	if err != nil || openapi.Value(v.Class) != slow {
		t.Fatalf("the volume %+v: %v", v, err)
	}
	// Each round writes 40 times and prints how many hundredths of a second that took.
	const script = `round=0
while :; do
	round=$((round+1)); read began rest < /proc/uptime
	dd if=/dev/zero of=/dev/xvda bs=4096 count=40 oflag=direct 2> /dev/null
	read ended rest < /proc/uptime
	echo "round $round took $(( ${ended%.*}${ended#*.} - ${began%.*}${began#*.} ))"
done`
	data := openapi.PodVolume{Name: "data", VolumeID: &v.ID}
	pod := tn.Wait(t, tn.Create(t, "writer", onDevice(data, tn.ImportImage(t, "busybox"), script)).ID, openapi.PodPhaseRunning)
	round := 0
	// until waits for a round that took at least, or at most, so long.
	until := func(what string, is func(seconds float64) bool) {
		t.Helper()
		began := time.Now()
		for skip := true; ; {
			round++
			log := tn.WaitForLog(t, pod.ID, "main", fmt.Sprintf("round %d took ", round))
			_, rest, _ := strings.Cut(log, fmt.Sprintf("round %d took ", round))
			text, _, ended := strings.Cut(rest, "\n")
			if !ended {
				round--
				continue
			}
			hundredths, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			seconds := float64(hundredths) / 100
			if !skip && is(seconds) {
				t.Logf("%s: 40 writes took %.2f s; seen after %s", what, seconds, time.Since(began).Round(10*time.Millisecond))
				return
			}
			skip = false // a round may have begun before the change
			if time.Since(began) > time.Minute {
				t.Fatalf("%s: 40 writes still take %.2f s", what, seconds)
			}
		}
	}
	atLeast := func(least float64) func(float64) bool { return func(s float64) bool { return s >= least } }
	atMost := func(most float64) func(float64) bool { return func(s float64) bool { return s <= most } }
	until("20 IOPS", atLeast(1.5))
	if _, err := tn.API.Volumes.SetClass(ctx, v.ID, fast); err != nil {
		t.Fatal(err)
	}
	until("400 IOPS of another class", atMost(1))
	put(fast, 10)
	until("10 IOPS, because the class has changed", atLeast(3))
	put(fast, 0)
	until("no limit", atMost(1))
	if err := operator.Volumes.DeleteClass(ctx, fast); !client.HasCode(err, husk.CodeConflict) {
		t.Errorf("the deletion of a class that a volume has: %v", err)
	}
	if err := operator.Volumes.DeleteClass(ctx, slow); err != nil {
		t.Error(err)
	}
	tn.DeletePod(t, pod.ID)
	if err := tn.API.Volumes.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := tn.API.Volumes.Wait(ctx, v.ID, func(openapi.Volume) (bool, error) { return false, nil }); !client.HasCode(err, husk.CodeNotFound) {
		t.Fatal(err)
	}
	if err := operator.Volumes.DeleteClass(ctx, fast); err != nil {
		t.Error(err)
	}
}
