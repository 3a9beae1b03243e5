// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/guest"
	"husk/kernel"
	"husk/openapi"
	"husk/test/stack"
)

const benchMemoryMiB = 160

// BenchmarkPodStart measures the time from the request for a pod until the pod is running. Its
// image is already imported. In the same run, it alternately measures the floor: plain QEMU with
// the same kernel, initramfs and size, until husk-init's first line. The difference of the medians
// is the time that Husk adds. The benchmark reports it with and without libvirt's own start, and how
// much of each start was the network: from the agent's first step until OVN had connected the pod.
func BenchmarkPodStart(b *testing.B) {
	tn := stack.NewTenant(b)
	busybox := tn.ImportImage(b, "busybox")
	steps := map[string][]time.Duration{}
	note := func(step string, d time.Duration) { steps[step] = append(steps[step], d) }
	overhead := 0
	for b.Loop() {
		note("floor: qemu to husk-init", plainBoot(b))
		pod := tn.Create(b, "bench-"+uuid.NewString()[:8], func(s *openapi.PodSpec) {
			s.Resources.MemoryMiB = benchMemoryMiB
			s.TerminationGracePeriodSeconds = new(0)
			s.Containers = []openapi.Container{stack.Shell(busybox, "exec sleep 1000000")}
		})
		t := tn.Wait(b, pod.ID, openapi.PodPhaseRunning).Status.Timeline
		last := t.AcceptedAt
		for _, s := range []struct {
			name string
			at   *time.Time
		}{
			{"accept to placed", t.PlacedAt},
			{"to preparing the machine", t.DomainStartingAt},
			{"to network connected", t.NetworkConnectedAt},
			{"to domain started", t.DomainStartedAt},
			{"to husk-init up", t.GuestReadyAt},
			{"to containers running", t.RunningAt},
		} {
			note(s.name, s.at.Sub(last))
			last = *s.at
		}
		overhead = max(overhead, overheadMiB(b, stack.QEMU(pod.ID), benchMemoryMiB+guest.ShareMiB))
		note("total", t.RunningAt.Sub(t.AcceptedAt))
		note("total without libvirt", t.RunningAt.Sub(t.AcceptedAt)-t.DomainStartedAt.Sub(*t.NetworkConnectedAt))
		note("total without network", t.RunningAt.Sub(t.AcceptedAt)-t.NetworkConnectedAt.Sub(*t.DomainStartingAt))
		tn.DeletePod(b, pod.ID)
	}
	median := func(step string) time.Duration {
		d := slices.Sorted(slices.Values(steps[step]))
		return d[len(d)/2]
	}
	fmt.Println()
	for _, step := range []string{
		"accept to placed", "to preparing the machine", "to network connected", "to domain started", "to husk-init up", "to containers running", "total",
		"total without libvirt", "total without network",
		"floor: qemu to husk-init",
	} {
		d := slices.Sorted(slices.Values(steps[step]))
		fmt.Printf("%-26s median %5d ms   min %5d   max %5d\n", step, d[len(d)/2].Milliseconds(), d[0].Milliseconds(), d[len(d)-1].Milliseconds())
	}
	floor := median("floor: qemu to husk-init")
	b.ReportMetric(float64(median("total").Milliseconds()), "ms/pod")
	b.ReportMetric(float64(floor.Milliseconds()), "ms/floor")
	b.ReportMetric(float64((median("total") - floor).Milliseconds()), "ms/added")
	b.ReportMetric(float64((median("total without libvirt") - floor).Milliseconds()), "ms/added-without-libvirt")
	b.ReportMetric(float64(median("to network connected").Milliseconds()), "ms/network")
	b.ReportMetric(median("total").Seconds()/median("total without network").Seconds(), "x-without-network")
	b.ReportMetric(median("total").Seconds()/floor.Seconds(), "x-floor")
	b.ReportMetric(float64(overhead), "MiB-overhead-max")
	b.ReportMetric(0, "ns/op")
}

// plainBoot starts the same kernel and initramfs with plain QEMU and returns the time to husk-init's first line.
func plainBoot(b *testing.B) time.Duration {
	b.Helper()
	build, err := filepath.Abs(filepath.Join(stack.Repository(), "build"))
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-machine", "q35", "-cpu", "max", "-m", strconv.Itoa(benchMemoryMiB+guest.ShareMiB), "-smp", "1", //nolint:gosec // ours
		"-bios", "qboot.rom", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config",
		"-kernel", filepath.Join(build, "vmlinuz"), "-initrd", filepath.Join(build, "initramfs.cpio"), "-append", kernel.Cmdline("hvc0", true),
		"-device", "virtio-serial-pci", "-chardev", "stdio,id=c", "-device", "virtconsole,chardev=c")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "husk-init: up") {
			return time.Since(start)
		}
	}
	b.Fatal("plain QEMU ended before husk-init was up")
	return 0
}

// overheadMiB returns the resident memory of a virtual machine's process without the guest's
// memory. The guest's memory is the only mapping of that size.
func overheadMiB(b *testing.B, pid, guestMiB int) int {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		b.Fatal(err)
	}
	var total, guest, size, rss int
	for line := range strings.Lines(string(raw)) {
		if n, _ := fmt.Sscanf(line, "Size: %d kB", &size); n == 1 {
			continue
		}
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &rss); n == 1 {
			total += rss
			if size == guestMiB<<10 {
				guest += rss
			}
		}
	}
	if guest == 0 {
		b.Fatalf("process %d has no mapping of %d MiB for its guest's memory", pid, guestMiB)
	}
	return (total - guest) >> 10
}
