// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/tar"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"husk/guest"
	"husk/kernel"
	"husk/openapi"
	"husk/session"
	"husk/test/stack"
)

// BenchmarkExecEcho measures the time from a keystroke in a terminal of husk exec until the client
// receives its echo. The keystroke passes through client, server, agent and guest. In the same run,
// the benchmark alternately sends the same keystroke directly to the guest channel of a machine in
// plain QEMU with the same kernel, initramfs and size. The difference is the time that Husk adds.
func BenchmarkExecEcho(b *testing.B) {
	tn := stack.NewTenant(b)
	busybox := tn.ImportImage(b, "busybox")
	pod := tn.Create(b, "echo", func(s *openapi.PodSpec) {
		s.Resources.MemoryMiB = benchMemoryMiB
		s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
	})
	tn.Wait(b, pod.ID, openapi.PodPhaseRunning)
	throughHusk, _, err := tn.Dial(b, tn.Token(b, tn.Key), "/v1/pods/"+pod.ID.String()+"/exec?command=cat&tty=true&stdin=true&cols=80&rows=24")
	if err != nil {
		b.Fatal(err)
	}
	throughChannel, err := plainGuest(b).Exec(b.Context(), guest.Exec{Container: "main", Args: []string{"cat"}, TTY: true, Stdin: true, Size: session.Size{Cols: 80, Rows: 24}})
	if err != nil {
		b.Fatal(err)
	}
	defer throughChannel.Close()
	const keys = 200
	var huskTimes, guestTimes []time.Duration
	for range 20 { // warm-up; these are not measured
		echo(b, throughHusk, 'w')
		echo(b, throughChannel, 'w')
	}
	for b.Loop() {
		for i := range keys {
			key := byte('a' + i%26)
			huskTimes = append(huskTimes, echo(b, throughHusk, key))
			guestTimes = append(guestTimes, echo(b, throughChannel, key))
			time.Sleep(5 * time.Millisecond) // so that keystrokes are sent one by one; people type even more slowly
		}
	}
	fmt.Println()
	at := func(d []time.Duration, q float64) time.Duration {
		slices.Sort(d)
		return d[int(q*float64(len(d)-1))]
	}
	for _, q := range []float64{0.5, 0.9, 0.99} {
		fmt.Printf("keystroke to echo, p%-3.0f %8s   in the guest alone %8s   added %8s\n", 100*q, at(huskTimes, q).Round(10*time.Microsecond),
			at(guestTimes, q).Round(10*time.Microsecond), (at(huskTimes, q) - at(guestTimes, q)).Round(10*time.Microsecond))
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(at(huskTimes, 0.5)), "ms/echo-p50")
	b.ReportMetric(ms(at(guestTimes, 0.5)), "ms/guest-p50")
	b.ReportMetric(ms(at(huskTimes, 0.5)-at(guestTimes, 0.5)), "ms/added-p50")
	b.ReportMetric(ms(at(huskTimes, 0.99)), "ms/echo-p99")
	b.ReportMetric(0, "ns/op")
}

// echo sends one keystroke and returns the time until its echo arrives.
func echo(b *testing.B, conn session.Conn, key byte) time.Duration {
	b.Helper()
	began := time.Now()
	if err := conn.Send(session.Stdin, []byte{key}); err != nil {
		b.Fatal(err)
	}
	for {
		f, err := conn.Receive()
		if err != nil || f.Kind.Final() {
			b.Fatalf("no echo: %v %s", err, f.Payload)
		}
		if slices.Contains(f.Payload, key) {
			return time.Since(began)
		}
	}
}

// plainGuest boots a machine under plain QEMU and starts a container in it.
func plainGuest(b *testing.B) *guest.Client {
	b.Helper()
	build, err := filepath.Abs(filepath.Join(stack.Repository(), "build"))
	if err != nil {
		b.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "husk-echo")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	image, socket := filepath.Join(dir, "image"), filepath.Join(dir, "channel")
	busyboxImage(b, image)
	cmd := exec.Command("qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-machine", "q35", "-cpu", "max", "-m", strconv.Itoa(benchMemoryMiB), "-smp", "1",
		"-bios", "qboot.rom", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config",
		"-kernel", filepath.Join(build, "vmlinuz"), "-initrd", filepath.Join(build, "initramfs.cpio"), "-append", kernel.Cmdline("hvc0", true),
		"-device", "virtio-serial-pci", "-chardev", "null,id=c", "-device", "virtconsole,chardev=c",
		"-chardev", "socket,id=channel,server=on,wait=off,path="+socket, "-device", "virtserialport,chardev=channel,name="+guest.PortName,
		"-drive", "if=none,format=raw,id=image,readonly=on,file="+image, "-device", "virtio-blk-pci,drive=image,serial=image")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ctx, cancel := context.WithTimeout(b.Context(), stack.BootTime)
	defer cancel()
	var conn net.Conn
	stack.Eventually(b, stack.BootTime, func() error { conn, err = net.Dial("unix", socket); return err })
	c, err := guest.Dial(ctx, conn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	status, err := c.Start(ctx, guest.Spec{PodID: "echo", Hostname: "echo", RestartPolicy: guest.RestartNever, Containers: []guest.Container{
		{Name: "main", ImageSerial: "image", Args: []string{"sleep", "1000000"}},
	}})
	for err == nil && status.Containers[0].State != guest.StateRunning {
		status, err = c.WaitStatus(ctx, status.Revision, 10*time.Second)
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// busyboxImage makes a squashfs with the programs that the benchmark runs.
func busyboxImage(b *testing.B, file string) {
	b.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		b.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("sqfstar", "-quiet", "-no-progress", "-comp", "lz4", file)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w := tar.NewWriter(in)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(raw))},
		{Name: "bin/cat", Typeflag: tar.TypeSymlink, Linkname: "busybox"},
		{Name: "bin/sleep", Typeflag: tar.TypeSymlink, Linkname: "busybox"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			b.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(raw); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}
