package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk"
	"husk/kernel"
	"husk/nodeagent"
	"husk/nodeagent/vm"
)

type agentFlags struct {
	serverURL, joinToken, nodeName, stateDir, listen, podRange, libvirtURI, libvirtLogDir, kernel, initramfs, firmware string
	allowEmulation, stopPodsOnExit                                                                                     bool
	cpuMillis, memoryMiB, reserveMemoryMiB, overheadMiB                                                                int
	bootTimeout                                                                                                        time.Duration
}

func agentCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the pods of this node",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runAgent(cmd, f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.serverURL, "server", "https://127.0.0.1:8443", "URL of the server, where it listens for agents")
	fs.StringVar(&f.joinToken, "join-token", "", "one-time token with which the node joins, or comes back; not needed afterwards")
	fs.StringVar(&f.nodeName, "node-name", "", "name of the node (default: the host's)")
	fs.StringVar(&f.stateDir, "state-dir", "/var/lib/husk/agent", "directory of the agent's state; QEMU's user must be able to enter it")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:7443", "address at which servers reach this agent")
	fs.StringVar(&f.podRange, "pod-range", defaultPodRange, "IPv4 range of tenants' networks; the same as the server's")
	fs.StringVar(&f.libvirtLogDir, "libvirt-log-dir", "/var/log/libvirt/qemu", "where libvirt writes a log for each domain; from there the agent learns when machines stopped while it did not run")
	fs.StringVar(&f.libvirtURI, "libvirt-uri", "qemu:///system", "libvirt to use")
	fs.StringVar(&f.kernel, "kernel", "/usr/lib/husk/vmlinuz", "kernel of the pods")
	fs.StringVar(&f.initramfs, "initramfs", "/usr/lib/husk/initramfs.cpio", "initramfs with husk-init")
	fs.StringVar(&f.firmware, "firmware", "/usr/share/qemu/qboot.rom", "firmware that boots the kernel")
	fs.BoolVar(&f.allowEmulation, "allow-emulation", false, "run without KVM where there is none; emulation is no security boundary")
	fs.BoolVar(&f.stopPodsOnExit, "stop-pods-on-exit", false, "stop the pods' machines when the agent is told to stop; without it they run on")
	fs.IntVar(&f.cpuMillis, "cpu-millis", 0, "cpu to offer, in thousandths of a core (default: all cores); the node's pool says how much of it is promised")
	fs.IntVar(&f.memoryMiB, "memory-mib", 0, "memory to offer (default: all but --reserve-memory-mib)")
	fs.IntVar(&f.reserveMemoryMiB, "reserve-memory-mib", 2048, "memory kept for the node itself")
	fs.IntVar(&f.overheadMiB, "vmm-overhead-mib", 0, "what a machine costs beside its guest's memory (default: as measured, see docs/operations.md)")
	fs.DurationVar(&f.bootTimeout, "boot-timeout", 2*time.Minute, "how long a guest may take to come up")
	return cmd
}

// Overheads of a monitor beside the guest's memory, in MiB: QEMU 7.2 with librbd. make bench measured 149 with emulation and one disk, of
// which up to 64 are its cache of translated code; the figure with KVM is that without the cache, and not measured (docs/operations.md).
const (
	overheadKVM       = 128
	overheadEmulation = 192
)

func runAgent(cmd *cobra.Command, f agentFlags) error {
	log, err := logger(cmd, "agent")
	if err != nil {
		return err
	}
	podRange, err := netip.ParsePrefix(f.podRange)
	if err != nil {
		return fmt.Errorf("--pod-range: %w", err)
	}
	emulate := false
	if err := kvmUsable(); err != nil {
		if !f.allowEmulation {
			return fmt.Errorf("KVM cannot be used: %w; --allow-emulation runs pods without it, which is no security boundary", err)
		}
		log.Warn("pods are emulated, which is no security boundary", "reason", err)
		emulate = true
	}
	if f.overheadMiB == 0 {
		f.overheadMiB = overheadKVM
		if emulate {
			f.overheadMiB = overheadEmulation
		}
	}
	if f.nodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("--node-name is not given and the host has none: %w", err)
		}
		f.nodeName = strings.ToLower(strings.Split(host, ".")[0])
	}
	capacity, err := capacityOf(f)
	if err != nil {
		return err
	}
	boot, err := installBootFiles(f)
	if err != nil {
		return err
	}
	agent, err := nodeagent.New(cmd.Context(), nodeagent.Config{
		ServerURL: f.serverURL, JoinToken: f.joinToken, NodeName: f.nodeName, StateDir: f.stateDir, Listen: f.listen, PodRange: podRange,
		Capacity: capacity, OverheadMiB: f.overheadMiB, BootTimeout: f.bootTimeout, StopPodsOnExit: f.stopPodsOnExit, Log: log,
		VM: vm.Config{
			URI: f.libvirtURI, Emulate: emulate, Kernel: boot.kernel, Initramfs: boot.initramfs, Firmware: boot.firmware,
			Cmdline: kernel.Cmdline("hvc0"), LogDir: filepath.Join(f.stateDir, "consoles"), LifeLogDir: f.libvirtLogDir, RunDir: "/run/libvirt/qemu",
		},
	})
	if err != nil {
		return err
	}
	return agent.Run(cmd.Context())
}

// kvmUsable says why KVM cannot be used. The device alone proves nothing: in some virtual machines it is there and does not work.
func kvmUsable() error {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	for flag := range strings.FieldsSeq(string(info)) {
		if flag == "vmx" || flag == "svm" {
			f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	return errors.New("the processor offers no hardware virtualization (neither vmx nor svm)")
}

func capacityOf(f agentFlags) (husk.Resources, error) {
	c := husk.Resources{CPUMillis: f.cpuMillis, MemoryMiB: f.memoryMiB}
	if c.CPUMillis == 0 {
		c.CPUMillis = runtime.NumCPU() * 1000
	}
	if c.MemoryMiB == 0 {
		total, err := memoryTotalMiB()
		if err != nil {
			return c, err
		}
		c.MemoryMiB = total - f.reserveMemoryMiB
	}
	if c.CPUMillis <= 0 || c.MemoryMiB <= 0 {
		return c, fmt.Errorf("nothing is left to offer: %d millis and %d MiB", c.CPUMillis, c.MemoryMiB)
	}
	return c, nil
}

func memoryTotalMiB() (int, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemTotal")
}

type bootFiles struct{ kernel, initramfs, firmware string }

// installBootFiles copies what a machine boots from into the state directory: QEMU runs as a user of its own and can often not enter the
// directory in which they were built, a build must not change what a running agent boots, and Debian's AppArmor rules for libvirt
// refuse firmware from QEMU's own directory.
func installBootFiles(f agentFlags) (bootFiles, error) {
	dir := filepath.Join(f.stateDir, "boot")
	b := bootFiles{filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initramfs"), filepath.Join(dir, "firmware")}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // QEMU's user reads them
		return b, err
	}
	if err := os.Chmod(f.stateDir, 0o711); err != nil { //nolint:gosec // QEMU's user passes through
		return b, err
	}
	return b, errors.Join(copyFile(b.kernel, f.kernel), copyFile(b.initramfs, f.initramfs), copyFile(b.firmware, f.firmware))
}

func copyFile(to, from string) error {
	in, err := os.Open(from) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("boot file: %w; make build makes kernel and initramfs, QEMU brings the firmware", err)
	}
	defer in.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, raw) { //nolint:gosec // our own state
		return nil
	}
	part := to + ".new"
	if err := os.WriteFile(part, raw, 0o644); err != nil { //nolint:gosec // QEMU's user reads it
		return err
	}
	return os.Rename(part, to)
}
