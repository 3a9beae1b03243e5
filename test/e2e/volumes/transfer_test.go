// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// sums is a script that prints the checksum of everything in /data.
const sums = `echo "sum $(find /data -type f | sort | xargs cat | md5sum)"; exec sleep 1000000`

var sum = regexp.MustCompile(`sum ([0-9a-f]{32})`)

func sumOf(t *testing.T, tn *stack.Tenant, name string, data openapi.PodVolume, image string) string {
	t.Helper()
	pod := tn.Create(t, name, with(data, image, sums))
	found := sum.FindString(tn.WaitForLog(t, pod.ID, "main", "sum "))
	tn.DeletePod(t, pod.ID)
	return found
}

func byName(t *testing.T, tn *stack.Tenant, name string) openapi.PodVolume {
	t.Helper()
	v, err := tn.API.Volumes.Find(t.Context(), name)
	if err != nil || v.State != openapi.VolumeStateAvailable {
		t.Fatalf("the volume is %+v: %v", v, err)
	}
	return openapi.PodVolume{Name: name, VolumeID: &v.ID}
}

// none waits until a volume with this name does not exist any more.
func none(t *testing.T, tn *stack.Tenant, name string) {
	t.Helper()
	stack.Eventually(t, time.Minute, func() error {
		v, err := tn.API.Volumes.Find(t.Context(), name)
		if client.HasCode(err, husk.CodeNotFound) {
			return nil
		}
		return fmt.Errorf("the volume is %+v: %w", v, err)
	})
}

// A volume is exported while its pod writes, and imported again: in the format of RBD and as a disk image, by Husk and by Ceph.
func TestAVolumeIsExportedAndImported(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox, data := tn.ImportImage(t, "busybox"), tn.Volume(t, "data")
	writer := tn.Create(t, "writer", with(data, busybox, `dd if=/dev/urandom of=/data/big bs=1M count=40; for i in $(seq 100); do echo $i > /data/$i; done; sync; echo written; exec sleep 1000000`))
	tn.WaitForLog(t, writer.ID, "main", "written\n")

	began := time.Now()
	r := tn.Run(t, nil, "volume", "export", "data", "--consistent")
	if r.Code != 0 {
		t.Fatalf("husk volume export: %d %s", r.Code, r.Errs)
	}
	content := r.Out
	t.Logf("the export of 1 GiB with 40 MiB of data has %.1f MiB and took %s", float64(len(content))/(1<<20), time.Since(began).Round(10*time.Millisecond))
	if len(content) < 40<<20 || len(content) > 140<<20 {
		t.Errorf("the export has %d bytes", len(content))
	}
	began = time.Now()
	if r := tn.Run(t, strings.NewReader(content), "volume", "import", "copy"); r.Code != 0 || !contains(r.Out, "imported with 1 GiB and the file system ext4") {
		t.Fatalf("husk volume import: %+v", r)
	}
	t.Logf("the import took %s", time.Since(began).Round(10*time.Millisecond))

	s := snapshot(t, tn, "s", data)
	image := filepath.Join(t.TempDir(), "data.img")
	file, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	cmd := tn.Husk(t.Context(), "snapshot", "export", "s", "--raw")
	cmd.Stdout = file
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if info, err := file.Stat(); err != nil || info.Size() != 1<<30 {
		t.Errorf("the disk image is %+v: %v", info, err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if r := tn.Run(t, file, "volume", "import", "from-raw", "--size", "2Gi"); r.Code != 0 || !contains(r.Out, "imported with 2 GiB and the file system ext4") {
		t.Fatalf("husk volume import of a disk image: %+v", r)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}

	diff := filepath.Join(t.TempDir(), "data.rbd-diff") // as Ceph writes it
	tn.RBD(t, "export-diff", "--no-progress", "husk-images/snap-"+s.ID.String(), diff)
	theirs, err := os.Open(diff)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if r := tn.Run(t, theirs, "volume", "import", "from-ceph"); r.Code != 0 {
		t.Fatalf("husk volume import of what Ceph has exported: %+v", r)
	}
	ours := filepath.Join(t.TempDir(), "ours.rbd-diff")
	if err := os.WriteFile(ours, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	tn.RBD(t, "create", "--size", "1G", "husk-images/test-"+tn.ID.String()) // as Ceph reads it
	tn.RBD(t, "import-diff", "--no-progress", ours, "husk-images/test-"+tn.ID.String())
	tn.RBD(t, "rm", "--no-progress", "husk-images/test-"+tn.ID.String())

	tn.DeletePod(t, writer.ID)
	want := sumOf(t, tn, "original", data, busybox)
	for _, name := range []string{"copy", "from-raw", "from-ceph"} {
		if got := sumOf(t, tn, name, byName(t, tn, name), busybox); got != want {
			t.Errorf("the files in %s have %q, and the original ones %q", name, got, want)
		}
	}
	for s, err := range tn.API.Snapshots.List(t.Context(), client.Select{}) {
		if err != nil || strings.HasPrefix(s.Name, "export-") && s.State != openapi.SnapshotStateDeleting {
			t.Errorf("a snapshot is left: %+v: %v", s, err)
		}
	}
}

// An import that ends early leaves nothing, and one that is refused says why.
func TestAnImportThatIsCutOffLeavesNothing(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	var image bytes.Buffer
	image.Grow(8 << 20)
	for range 1 << 20 {
		image.WriteString("content ")
	}
	for name, c := range map[string]struct {
		in   string
		args []string
		says string
	}{
		"cut":      {"rbd diff v1\ns\x00\x00\x00\x40\x00\x00\x00\x00w\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00abc", nil, "ends too early"},
		"wrong":    {"rbd diff v1\ns\x00\x00\x00\x40\x00\x00\x00\x00?", nil, "unknown record"},
		"small":    {"rbd diff v1\ns\x00\x00\x00\x80\x00\x00\x00\x00e", []string{"--size", "1Gi"}, "the volume cannot be smaller"},
		"large":    {"rbd diff v1\ns\x00\x00\x00\x00\x00\xff\xff\x00e", nil, "16384 GiB"},
		"quota":    {"rbd diff v1\ns\x00\x00\x00\x00\x00\x01\x00\x00e", nil, "quota"},
		"no-class": {"rbd diff v1\ns\x00\x00\x00\x40\x00\x00\x00\x00e", []string{"--class", "none"}, "no volume class"},
		"no-size":  {image.String(), nil, "--size"},
	} {
		r := tn.Run(t, strings.NewReader(c.in), append([]string{"volume", "import", name}, c.args...)...)
		if r.Code == 0 || !contains(r.Errs, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
		none(t, tn, name)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	cmd := tn.Husk(t.Context(), "volume", "import", "stalls", "--size", "1Gi")
	cmd.Stdin = read
	started := stack.Start(t, cmd)
	if _, err := write.Write(image.Bytes()[:4<<20]); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		v, err := tn.API.Volumes.Find(t.Context(), "stalls")
		if err == nil && (v.State != openapi.VolumeStateCreating || openapi.Value(v.Message) == "") {
			t.Errorf("during the import, the volume is %+v", v)
		}
		if err != nil {
			err = fmt.Errorf("%w; husk prints %q", err, started.Output())
		}
		return err
	})
	began := time.Now()
	if err := started.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	none(t, tn, "stalls")
	t.Logf("the volume of an import whose client was killed was gone after %s", time.Since(began).Round(10*time.Millisecond))
}
