// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"husk/guest"
	"husk/kernel"
	"husk/test/pace"
)

// bootWait is the longest time that a test waits for anything in a VM.
var bootWait = pace.Limit(time.Minute)

// artifacts are the kernel and initramfs that every VM of this package boots. They are built once.
type artifacts struct {
	kernel    kernel.Kernel
	initramfs string
}

var buildOnce = sync.OnceValues(func() (artifacts, error) {
	k, err := kernel.Find("auto")
	if err != nil {
		return artifacts{}, err
	}
	dir, err := os.MkdirTemp("", "husk-boot")
	if err != nil {
		return artifacts{}, err
	}
	builtDir = dir
	a := artifacts{kernel: k, initramfs: filepath.Join(dir, "initramfs.cpio")}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "../../cmd/husk-init", "../../cmd/husk-probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return artifacts{}, errors.Join(err, errors.New(string(out)))
	}
	f, err := os.Create(a.initramfs)
	if err != nil {
		return artifacts{}, err
	}
	defer f.Close()
	return a, kernel.WriteInitramfs(f, filepath.Join(dir, "husk-init"), filepath.Join(dir, "husk-probe"), k.Modules)
})

// builtDir has the artifacts. TestMain removes it after the tests.
var builtDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtDir != "" {
		os.RemoveAll(builtDir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func buildArtifacts(t *testing.T) artifacts {
	t.Helper()
	a, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type disk struct {
	file, serial string
	readOnly     bool
}

// vm is a running QEMU.
type vm struct {
	socket  string
	console *lockedBuffer
	exited  chan struct{}
}

// bootVM starts QEMU with the disks and kills it when the test ends.
func bootVM(t *testing.T, memory string, disks []disk, extra ...string) *vm {
	t.Helper()
	a := buildArtifacts(t)
	dir, err := os.MkdirTemp("", "husk-vm") // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &vm{socket: filepath.Join(dir, "channel"), console: new(lockedBuffer), exited: make(chan struct{})}
	args := []string{
		"-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", memory, "-bios", "qboot.rom",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
		"-kernel", a.kernel.Image, "-initrd", a.initramfs, "-append", kernel.Cmdline("ttyS0", true),
		"-device", "virtio-serial-pci", "-chardev", "socket,id=channel,server=on,wait=off,path=" + v.socket,
		"-device", "virtserialport,chardev=channel,name=" + guest.PortName,
	}
	for i, d := range disks {
		id := string(rune('a' + i))
		ro := "off"
		if d.readOnly {
			ro = "on"
		}
		args = append(args,
			"-drive", "if=none,format=raw,id="+id+",file="+d.file+",readonly="+ro,
			"-device", "virtio-blk-pci,drive="+id+",serial="+d.serial)
	}
	cmd := exec.Command("qemu-system-x86_64", append(args, extra...)...)
	cmd.Stdout, cmd.Stderr = v.console, v.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.exited)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-v.exited
		if t.Failed() {
			t.Logf("console:\n%s", v.console)
		}
	})
	return v
}

// dial connects to the guest's channel as an agent would.
func (v *vm) dial(t *testing.T) *guest.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	c, err := guest.Dial(ctx, v.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (v *vm) connect(t *testing.T) net.Conn {
	t.Helper()
	var conn net.Conn
	eventually(t, "QEMU listens", func() bool {
		var err error
		conn, err = net.Dial("unix", v.socket)
		return err == nil
	})
	return conn
}

// waitOff waits for the VM to power off.
func (v *vm) waitOff(t *testing.T) {
	t.Helper()
	select {
	case <-v.exited:
	case <-time.After(bootWait):
		t.Fatal("the VM does not power off")
	}
}

// eventually polls until ok returns true. Each poll can start a process in the
// guest, so the pauses grow.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(bootWait)
	for pause := 5 * time.Millisecond; !ok(); pause = min(2*pause, 300*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-deadline:
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// waitStatus long-polls until ok returns true.
func waitStatus(t *testing.T, c *guest.Client, what string, ok func(guest.Status) bool) guest.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	var s guest.Status
	for {
		next, err := c.WaitStatus(ctx, s.Revision, 10*time.Second)
		if err != nil {
			t.Fatalf("waiting until %s: %v; last status: %+v", what, err, s)
		}
		if s = next; ok(s) {
			return s
		}
	}
}

// logOnFailure shows what the containers wrote if the test fails.
func logOnFailure(t *testing.T, c *guest.Client, containers ...string) {
	t.Helper()
	if t.Failed() {
		for _, name := range containers {
			t.Logf("%s: %q", name, logsOf(t, c, name))
		}
	}
}

// logsOf fetches what a container has written so far, by stream.
func logsOf(t *testing.T, c *guest.Client, container string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := c.Logs(context.Background(), container, 0, false, func(e guest.LogEntry) error {
		out[e.Stream] += string(e.Bytes)
		return nil
	})
	if err != nil {
		t.Fatalf("logs of %s: %v", container, err)
	}
	return out
}

// entry is a file in a test's image.
type entry struct {
	name, content, link string
	mode                int64
	uid                 int
	disk                bool // a device node for the first disk
}

// diskMajor is the number that the kernel gives the first driver of disks that asks for one.
const diskMajor = 254

// makeImage builds a squashfs with busybox and additional entries.
func makeImage(t *testing.T, more ...entry) string {
	t.Helper()
	busybox, err := os.ReadFile(lookPath(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	entries := []entry{
		{name: "bin/", mode: 0o755},
		{name: "etc/", mode: 0o755},
		{name: "tmp/", mode: 0o1777},
		{name: "bin/busybox", content: string(busybox), mode: 0o755},
		{name: "etc/passwd", content: "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", mode: 0o644},
		{name: "etc/group", content: "root:x:0:\napp:x:1000:\nstaff:x:50:app\n", mode: 0o644},
	}
	for _, applet := range []string{"sh", "cat", "echo", "id", "sleep", "wget", "httpd", "tail", "ls", "hostname", "ip", "mount", "su", "grep", "env", "test"} {
		entries = append(entries, entry{name: "bin/" + applet, link: "busybox"})
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range append(entries, more...) {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.uid, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		switch {
		case e.disk:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, diskMajor, 0
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.squashfs")
	cmd := exec.Command("sqfstar", "-quiet", "-no-progress", "-processors", "1", "-comp", "lz4", file)
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqfstar: %v\n%s", err, out)
	}
	return file
}

// makeVolume builds an empty ext4.
func makeVolume(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "volume.raw")
	command(t, "mkfs.ext4", "-q", file, "16M")
	return file
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(lookPath(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lockedBuffer is a buffer that QEMU writes to while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
