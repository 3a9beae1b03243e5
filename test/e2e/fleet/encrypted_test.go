// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"strings"
	"testing"

	"husk/openapi"
	"husk/test/moves"
	"husk/test/stack"
)

// A pod with an encrypted volume moves with its memory to another node, and starts on the first one again when that node has lost its power. The key
// of the volume is there each time, and everything that the pod has stored.
func TestAPodWithAnEncryptedVolumeMoves(t *testing.T) {
	f := stack.StartFleet(t, 2)
	tn := f.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	v, err := tn.API.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: "data", SizeGiB: 1, Encrypted: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	pod := tn.Create(t, "writer", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{{Name: "data", VolumeID: &v.ID}}
		c := stack.Shell(busybox, `echo start >> /data/log; [ $(grep -c wrote /data/log) -lt 20 ] || echo kept the log; echo "starts: $(grep -c start /data/log)"
i=0; while :; do i=$((i+1)); echo "wrote $i" | tee -a /data/log; sync; sleep 0.2; done`)
		c.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		s.Containers = []openapi.Container{c}
	})
	pod = tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	tn.WaitForLog(t, pod.ID, "main", "starts: 1\n")
	t.Log(moves.Move(t, f, tn, pod))
	written := strings.Count(tn.Logs(t, pod.ID, nil), "wrote ")
	tn.WaitForLog(t, pod.ID, "main", fmt.Sprintf("wrote %d\n", written+20)) // the program waits for each write, now on the new node
	f.NodeOf(t, pod.ID).Kill(t)
	tn.WaitForLog(t, pod.ID, "main", "starts: 2\n")
	if kept := strings.Count(tn.Logs(t, pod.ID, nil), "kept "); kept != 1 {
		t.Errorf("the log of the pod is %s", tn.Logs(t, pod.ID, nil))
	}
}
