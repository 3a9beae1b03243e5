// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"strings"
	"testing"
	"time"

	"husk/guest"
)

const shmScript = `
[ -e /dev/shm/run ] && { echo "the next run sees $(cat /dev/shm/run)"; exit 0; }
dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null || echo "full at $(stat -c %s /dev/shm/x)"
rm /dev/shm/x
echo "mode $(stat -c %a /dev/shm)"
cp /bin/busybox /dev/shm/busybox && /dev/shm/busybox echo "a file can be executed" 2>/dev/null
rm /dev/shm/busybox
echo "ipc $(readlink /proc/self/ns/ipc)"
echo first > /dev/shm/run
until [ -e /dev/shm/seen ]; do sleep 0.1; done
exit 1
`

// TestContainersShareMemory boots a pod whose containers share /dev/shm and their IPC namespace.
func TestContainersShareMemory(t *testing.T) {
	t.Parallel()
	var applets []entry
	for _, name := range []string{"stat", "dd", "cp", "rm", "readlink"} {
		applets = append(applets, entry{name: "bin/" + name, link: "busybox"})
	}
	v := bootVM(t, "192", []disk{{makeImage(t, applets...), "image-1", true}})
	c := v.dial(t)
	spec := guest.Spec{
		PodID: "pod", Hostname: "pod", RestartPolicy: guest.RestartOnFailure, RestartBackoff: guest.Backoff{BaseMillis: 1}, ShmSizeMiB: 6,
		Containers: []guest.Container{
			{Name: "writer", ImageSerial: "image-1", Args: []string{"sh", "-c", shmScript}},
			{
				Name: "reader", ImageSerial: "image-1", User: "1000",
				Args: []string{"sh", "-c", "until [ -e /dev/shm/run ]; do sleep 0.1; done; echo ipc $(readlink /proc/self/ns/ipc); echo x > /dev/shm/seen"},
			},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer func() { logOnFailure(t, c, "writer") }()
	ended := waitStatus(t, c, "the pod has ended", func(s guest.Status) bool { return s.Phase == guest.PhaseSucceeded || s.Phase == guest.PhaseFailed })
	if ended.Phase != guest.PhaseSucceeded {
		t.Fatalf("the pod has failed: %+v", ended)
	}
	got := logsOf(t, c, "writer")[guest.Stdout]
	for _, want := range []string{"full at 6291456", "mode 1777", "the next run sees first"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the output:\n%s", want, got)
		}
	}
	if strings.Contains(got, "a file can be executed") {
		t.Error("a file in /dev/shm can be executed")
	}
	ipc := logsOf(t, c, "reader")[guest.Stdout]
	if !strings.HasPrefix(ipc, "ipc ipc:[") || !strings.Contains(got, ipc) {
		t.Errorf("the containers have different IPC namespaces: %q and:\n%s", ipc, got)
	}
	if err := c.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	v.waitOff(t)
}
