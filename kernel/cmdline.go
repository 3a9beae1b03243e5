// SPDX-License-Identifier: Apache-2.0

// Package kernel has what a pod's VM boots: the kernel's command line (cmdline.go), and the
// initramfs with husk-init and the modules it needs (initramfs.go, built by mkinitramfs). The
// kernel itself is Debian's cloud kernel, unless a tenant brings one.
package kernel

import "strings"

// options of the kernel's command line. Mitigations of CPU bugs, address space randomization and
// lockdown keep their defaults, because they protect a pod's kernel from its containers. Most
// options disable probes for devices that the machine does not have.
var options = []string{
	// If its init has died, the pod has failed. Reboot at once, which ends the VM, and the agent
	// notices it.
	"panic=-1",
	// After an oops the kernel is in an untested state.
	"oops=panic",
	// Print only warnings and errors. On a serial console, every printed character costs an exit to
	// the host.
	"quiet", "loglevel=4",
	// The hypervisor routes the timer's interrupt, so there is nothing to check.
	"no_timer_check",
	// Do not repeat the self tests of ciphers: Debian's build has already tested them.
	"cryptomgr.notests",
	// There is no PS/2 keyboard or mouse, and probing for them takes time.
	"i8042.noaux", "i8042.nokbd",
	// At most one serial port; each probe of a missing one is slow.
	"8250.nr_uarts=1",
	// The host's CPU seeds the guest's random generator: the host could read the guest's memory
	// anyway. Without it, the first getrandom() waits.
	"random.trust_cpu=on",
	// No advanced error reporting on virtual PCI.
	"pci=noaer",
	// No audit daemon reads the records.
	"audit=0",
	// Volumes are single disks.
	"raid=noautodetect",
	// RCU grace periods are the bottleneck of a booting kernel, not the throughput of batches.
	"rcupdate.rcu_expedited=1",
	// Only cgroups version 2.
	"cgroup_no_v1=all",
}

const (
	// stableTSC: KVM keeps the TSC stable and tells its frequency, so do not watch it with another clock.
	stableTSC = "tsc=reliable"
	// unstableTSC: in emulation, the kernel measures the TSC's frequency at boot, and the vCPU may wait for a processor meanwhile. The clocks of four
	// pods that booted on a busy node ran 33 to 47 times too fast. The ACPI timer has a fixed frequency.
	unstableTSC = "tsc=unstable"
)

// Cmdline returns the kernel's command line for a console: "ttyS0" for a serial port, "hvc0" for a
// virtio console (faster, but silent until its driver is loaded), "" for none. A machine is
// emulated if it runs without KVM.
func Cmdline(console string, emulated bool) string {
	var all []string
	if console != "" {
		all = append(all, "console="+console)
	}
	all = append(all, options...)
	if emulated {
		return strings.Join(append(all, unstableTSC), " ")
	}
	return strings.Join(append(all, stableTSC), " ")
}
