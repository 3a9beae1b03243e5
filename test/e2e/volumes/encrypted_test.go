// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// marker is what a pod writes. It is in no RBD image of an encrypted volume.
const marker = "this-is-what-the-tenant-keeps-for-itself"

func encrypted(t *testing.T, tn *stack.Tenant, name string, fsType openapi.FSType) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: name, SizeGiB: 1, FsType: &fsType, Encrypted: new(true)})
	if err != nil || !openapi.Value(v.Encrypted) {
		t.Fatalf("the volume %+v: %v", v, err)
	}
	return openapi.PodVolume{Name: name, VolumeID: &v.ID}
}

// hasMarker reports whether the content of an RBD image has the marker in plain text.
func hasMarker(t *testing.T, tn *stack.Tenant, image string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "content")
	tn.RBD(t, "export", "--no-progress", image, file)
	raw, err := os.ReadFile(file)
	if err != nil || len(raw) < 1<<30 {
		t.Fatalf("%s has %d bytes: %v", image, len(raw), err)
	}
	return bytes.Contains(raw, []byte(marker))
}

func wantNoMarker(t *testing.T, tn *stack.Tenant, image string) {
	t.Helper()
	if hasMarker(t, tn, image) {
		t.Errorf("%s contains the marker", image)
	}
}

// A pod cannot tell an encrypted volume from another: it has the same size, grows, and is copied to snapshots and volumes.
func TestAnEncryptedVolume(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data, plain := tn.ImportImage(t, "busybox"), encrypted(t, tn, "data", openapi.FSTypeExt4), tn.Volume(t, "plain")
	script := "for i in $(seq 1000); do echo " + marker + "; done > /data/file; sync; cp /data/file /plain/file; sync; echo written; " + sizes
	pod := tn.Create(t, "writer", func(p *openapi.PodSpec) {
		with(data, busybox, script)(p)
		*p.Volumes = append(*p.Volumes, plain)
		*p.Containers[0].VolumeMounts = append(*p.Containers[0].VolumeMounts, openapi.VolumeMount{Volume: plain.Name, MountPath: "/plain"})
	})
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "size 1\n")
	if !hasMarker(t, tn, "husk-volumes/vol-"+plain.VolumeID.String()) {
		t.Error("the marker is not found in a volume that is not encrypted") // so the test could not fail
	}
	wantNoMarker(t, tn, "husk-volumes/vol-"+data.VolumeID.String())

	began := time.Now()
	if _, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 2); err != nil {
		t.Fatal(err)
	}
	tn.WaitForLog(t, pod.ID, "main", "size 3\n")
	t.Logf("a growth was seen in the guest after %s", time.Since(began).Round(10*time.Millisecond))

	s := snapshot(t, tn, "copied", data)
	if !openapi.Value(s.Encrypted) {
		t.Errorf("the snapshot is %+v", s)
	}
	wantNoMarker(t, tn, "husk-images/snap-"+s.ID.String())
	copied := clone(t, tn, "copy", s, false)
	reader := tn.Create(t, "reader", func(p *openapi.PodSpec) {
		with(copied, busybox, "echo the clone has $(grep -c "+marker+" /data/file), the snapshot $(grep -c "+marker+" /snap/file); echo more-"+marker+" >> /data/file; sync; echo done; exec sleep 1000000")(p)
		*p.Volumes = append(*p.Volumes, openapi.PodVolume{Name: "snap", SnapshotID: &s.ID})
		*p.Containers[0].VolumeMounts = append(*p.Containers[0].VolumeMounts, openapi.VolumeMount{Volume: "snap", MountPath: "/snap"})
	})
	tn.WaitForLog(t, tn.Wait(t, reader.ID, openapi.PodPhaseRunning).ID, "main", "the clone has 1000, the snapshot 1000\ndone\n")
	wantNoMarker(t, tn, "husk-volumes/vol-"+copied.VolumeID.String())
	tn.DeletePod(t, pod.ID)
	tn.DeletePod(t, reader.ID)

	restored, err := tn.API.Volumes.Restore(t.Context(), *copied.VolumeID, s.ID)
	if err != nil || !openapi.Value(restored.Encrypted) {
		t.Fatalf("the restored volume is %+v: %v", restored, err)
	}
	available(t, tn, copied)
	reader = tn.Create(t, "again", with(copied, busybox, "echo restored $(wc -l < /data/file); exec sleep 1000000"))
	tn.WaitForLog(t, tn.Wait(t, reader.ID, openapi.PodPhaseRunning).ID, "main", "restored 1000\n")

	if _, err := tn.API.Volumes.Restore(t.Context(), *plain.VolumeID, s.ID); !client.HasCode(err, husk.CodeInvalid) {
		t.Errorf("a restore that would encrypt a volume: %v", err)
	}
	if _, err := tn.API.Snapshots.Export(t.Context(), s.ID); !client.HasCode(err, husk.CodeConflict) || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("the export of an encrypted snapshot: %v", err)
	}
	for _, wrong := range []openapi.VolumeCreate{
		{Name: "wrong", SizeGiB: 2, Encrypted: new(false), Source: &openapi.VolumeSource{SnapshotID: s.ID}},
		{Name: "wrong", SizeGiB: 1, Encrypted: new(true), Source: &openapi.VolumeSource{SnapshotID: snapshot(t, tn, "plain", plain).ID}},
	} {
		if _, err := tn.API.Volumes.Create(t.Context(), wrong); !client.HasCode(err, husk.CodeInvalid) {
			t.Errorf("the volume %+v: %v", wrong, err)
		}
	}
}

// The log of an XFS must be empty for its first mount, and a block device must begin with what a pod has written.
func TestEncryptedVolumesOfOtherKinds(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data, raw := tn.ImportImage(t, "busybox"), encrypted(t, tn, "data", openapi.FSTypeXfs), encrypted(t, tn, "raw", openapi.FSTypeNone)
	pod := tn.Create(t, "both", func(p *openapi.PodSpec) {
		with(data, busybox, "echo "+marker+" > /data/file; printf "+marker+" > /dev/xvda; sync; echo bytes $(blockdev --getsize64 /dev/xvda); head -c "+lengthOfMarker+" /dev/xvda; "+sizes)(p)
		*p.Volumes = append(*p.Volumes, raw)
		p.Containers[0].VolumeDevices = &[]openapi.VolumeDevice{{Volume: raw.Name, DevicePath: "/dev/xvda"}}
	})
	tn.WaitForLog(t, tn.Wait(t, pod.ID, openapi.PodPhaseRunning).ID, "main", "bytes 1073741824\n"+marker+"size 1\n")
	wantNoMarker(t, tn, "husk-volumes/vol-"+data.VolumeID.String())
	wantNoMarker(t, tn, "husk-volumes/vol-"+raw.VolumeID.String())
	if _, err := tn.API.Volumes.Grow(t.Context(), *data.VolumeID, 3); err != nil {
		t.Fatal(err)
	}
	tn.WaitForLog(t, pod.ID, "main", "size 5\n")
}

const lengthOfMarker = "40"
