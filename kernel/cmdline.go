// Package kernel is what a pod's VM boots: how the kernel is told to start
// (cmdline.go) and the initramfs with husk-init and the modules it needs
// (initramfs.go, built by mkinitramfs). The kernel itself is Debian's cloud
// kernel unless a tenant brings one.
package kernel

import "strings"

// options of the kernel's command line, each for its own reason. Mitigations of
// CPU bugs, address space randomisation and lockdown keep their defaults: a
// pod's containers are walled off from its kernel as anywhere else. What a
// machine does not have need not be looked for, and that is most of it.
var options = []string{
	// A pod whose init has died is a pod that has failed: no waiting, the VM
	// ends and the agent sees it.
	"panic=-1",
	// An oops leaves the kernel in a state nobody has tested.
	"oops=panic",
	// Warnings and worse. Every other line costs an exit to the host per
	// character on a serial console.
	"quiet", "loglevel=4",
	// The hypervisor keeps the TSC steady; do not measure that at boot, nor
	// watch it by another clock.
	"tsc=reliable",
	// The timer's interrupt is routed by the hypervisor: nothing to find out.
	"no_timer_check",
	// No self tests of ciphers that Debian's build has tested.
	"cryptomgr.notests",
	// There is no PS/2 keyboard or mouse, and probing for them waits.
	"i8042.noaux", "i8042.nokbd",
	// One serial port at most; each probe of a missing one is slow.
	"8250.nr_uarts=1",
	// The host's CPU seeds the guest's generator: the host could read the
	// guest's memory anyway. Without it, the first getrandom() waits.
	"random.trust_cpu=on",
	// No advanced error reporting on virtual PCI.
	"pci=noaer",
	// No audit daemon will ever read the records.
	"audit=0",
	// Volumes are single disks.
	"raid=noautodetect",
	// A kernel that just boots waits for grace periods, not for batches.
	"rcupdate.rcu_expedited=1",
	// Cgroups are version 2 only.
	"cgroup_no_v1=all",
}

// Cmdline is the kernel's command line with this console: "ttyS0" for a serial
// port, "hvc0" for a virtio console (quicker, but silent until its driver has
// been loaded), "" for none.
func Cmdline(console string) string {
	all := options
	if console != "" {
		all = append([]string{"console=" + console}, options...)
	}
	return strings.Join(all, " ")
}
