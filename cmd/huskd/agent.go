// SPDX-License-Identifier: Apache-2.0

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
	"husk/nodeagent/network"
	"husk/nodeagent/vm"
)

type agentFlags struct {
	serverURL, joinToken, nodeName, stateDir, listen, libvirtURI, libvirtLogDir, kernel, initramfs, firmware string
	machineUsers                                                                                             string
	allowEmulation, allowUnconfined, stopPodsOnExit                                                          bool
	cpuMillis, memoryMiB, reserveMemoryMiB, overheadMiB, scratchGiB                                          int
	podResolvers, southbound                                                                                 []string
	ovs, overlay, providerNetwork, providerBridge                                                            string
	bootTimeout                                                                                              time.Duration
	limits                                                                                                   podLimits
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
	fs.StringVar(&f.serverURL, "server", "https://127.0.0.1:8443", "URL of the server's API for agents (its --agent-listen)")
	fs.StringVar(&f.joinToken, "join-token", "", "one-time token to join or re-admit the node; not needed afterwards")
	fs.StringVar(&f.nodeName, "node-name", "", "name of the node (default: the host name)")
	fs.StringVar(&f.stateDir, "state-dir", "/var/lib/husk/agent", "directory of the agent's state; QEMU's user must be able to enter it")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:7443", "address at which servers reach this agent")
	fs.StringVar(&f.ovs, "ovsdb", "unix:/run/openvswitch/db.sock", "endpoint of this node's Open vSwitch database")
	fs.StringSliceVar(&f.southbound, "ovn-southbound", nil, "endpoints of OVN's southbound database, such as ssl:192.0.2.1:6642")
	fs.StringVar(&f.overlay, "overlay-address", "", "address to which other nodes send pods' packets (default: that from which this node reaches --ovn-southbound)")
	fs.StringVar(&f.providerBridge, "provider-bridge", "", "bridge of Open vSwitch with the network through which pods reach others; makes this node a gateway")
	fs.StringVar(&f.providerNetwork, "provider-network", "provider", "name of that network; the same as the server's")
	fs.StringSliceVar(&f.podResolvers, "pod-resolver", nil, "IPv4 addresses of the pods' nameservers (default: the node's own that are public, or else "+strings.Join(publicResolvers, " and ")+")")
	f.limits.register(fs)
	fs.StringVar(&f.libvirtLogDir, "libvirt-log-dir", "/var/log/libvirt/qemu", "directory of libvirt's domain logs; the agent reads them to learn at what time machines stopped while it was not running")
	fs.StringVar(&f.libvirtURI, "libvirt-uri", "qemu:///system", "URI of libvirt")
	fs.StringVar(&f.kernel, "kernel", "/usr/lib/husk/vmlinuz", "kernel of the pods")
	fs.StringVar(&f.initramfs, "initramfs", "/usr/lib/husk/initramfs.cpio", "initramfs with husk-init")
	fs.StringVar(&f.firmware, "firmware", "/usr/share/qemu/qboot.rom", "firmware that boots the kernel")
	fs.BoolVar(&f.allowEmulation, "allow-emulation", false, "run without KVM if it is not available; emulation is not a security boundary")
	fs.BoolVar(&f.allowUnconfined, "allow-unconfined", false, "run with KVM although neither AppArmor nor SELinux confines QEMU")
	fs.StringVar(&f.machineUsers, "machine-users", vm.DefaultUsers.String(), "range of user ids that nobody else has on this node; each machine runs as one of them")
	fs.BoolVar(&f.stopPodsOnExit, "stop-pods-on-exit", false, "stop the pods' machines when the agent stops; by default they continue to run")
	fs.IntVar(&f.cpuMillis, "cpu-millis", 0, "cpu of the node, in thousandths of a core (default: all cores); the pool's overcommit ratio is applied to it")
	fs.IntVar(&f.memoryMiB, "memory-mib", 0, "memory for pods, in MiB (default: all except --reserve-memory-mib)")
	fs.IntVar(&f.reserveMemoryMiB, "reserve-memory-mib", 2048, "memory reserved for the node itself, in MiB")
	fs.IntVar(&f.overheadMiB, "vmm-overhead-mib", 0, "memory that QEMU needs in addition to its guest's memory, in MiB (default: as measured, see docs/operations.md)")
	fs.IntVar(&f.scratchGiB, "scratch-gib", -1, "size of the scratch disks of all pods together, in GiB (default: what is free on the file system of --state-dir, without a tenth of it)")
	fs.DurationVar(&f.bootTimeout, "boot-timeout", 2*time.Minute, "how long a guest may take to boot")
	return cmd
}

// Overheads of QEMU in addition to the guest's memory, in MiB: QEMU 7.2 with librbd. make bench
// measured 149 with emulation and one disk, of which up to 64 are its cache of translated code.
// KVM needs no such cache, so its value is 64 lower; it was not measured (docs/operations.md).
const (
	overheadKVM       = 128
	overheadEmulation = 192
)

func runAgent(cmd *cobra.Command, f agentFlags) error {
	log, err := logger(cmd, "agent")
	if err != nil {
		return err
	}
	nameservers, err := resolvers(f.podResolvers)
	if err != nil {
		return err
	}
	net, err := f.network()
	if err != nil {
		return err
	}
	diskLimits, err := f.limits.disks()
	if err != nil {
		return err
	}
	emulate := false
	if err := kvmUsable(); err != nil {
		if !f.allowEmulation {
			return fmt.Errorf("KVM is not available: %w; to run pods in emulation, which is not a security boundary, pass --allow-emulation", err)
		}
		log.Warn("pods are emulated, which is not a security boundary", "reason", err)
		emulate = true
	}
	if !emulate && !f.allowUnconfined {
		if err := vm.CheckConfinement(f.libvirtURI); err != nil {
			return fmt.Errorf("%w; set it up as docs/operations.md describes, or pass --allow-unconfined", err)
		}
	}
	users, err := vm.ParseUsers(f.machineUsers)
	if err != nil {
		return fmt.Errorf("--machine-users: %w", err)
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
			return fmt.Errorf("--node-name is not set and the host name is not available: %w", err)
		}
		f.nodeName = strings.ToLower(strings.Split(host, ".")[0])
	}
	capacity, err := capacityOf(f)
	if err != nil {
		return err
	}
	if f.scratchGiB < 0 {
		if f.scratchGiB, err = vm.ScratchCapacityGiB(nodeagent.ScratchDir(f.stateDir)); err != nil {
			return err
		}
	}
	booted, err := kernel.Read(f.kernel)
	if err != nil {
		return fmt.Errorf("the description of the kernel %s: %w", f.kernel, err)
	}
	boot, err := installBootFiles(f)
	if err != nil {
		return err
	}
	log.Info("pods boot", "kernel", booted.Name, "memoryMiB", booted.ShareMiB)
	agent, err := nodeagent.New(cmd.Context(), nodeagent.Config{
		ServerURL: f.serverURL, JoinToken: f.joinToken, NodeName: f.nodeName, StateDir: f.stateDir, Listen: f.listen, Resolvers: nameservers, Network: net,
		Capacity: capacity, OverheadMiB: f.overheadMiB, ShareMiB: booted.ShareMiB, ScratchGiB: f.scratchGiB, BootTimeout: f.bootTimeout, StopPodsOnExit: f.stopPodsOnExit, Log: log,
		VM: vm.Config{
			URI: f.libvirtURI, Emulate: emulate, Kernel: boot.kernel, Initramfs: boot.initramfs, Firmware: boot.firmware,
			Cmdline: kernel.Cmdline("hvc0", emulate), LogDir: filepath.Join(f.stateDir, "consoles"), ScratchDir: nodeagent.ScratchDir(f.stateDir), LifeLogDir: f.libvirtLogDir, RunDir: "/run/libvirt/qemu",
			Disks: diskLimits,
			Users: users,
		},
	})
	if err != nil {
		return err
	}
	return agent.Run(cmd.Context())
}

// network reads the flags about the network of pods.
func (f agentFlags) network() (c network.Config, err error) {
	if len(f.southbound) == 0 {
		return c, errors.New("--ovn-southbound is missing: the endpoints of OVN's southbound database")
	}
	c = network.Config{OVSDB: f.ovs, Southbound: f.southbound, ProviderNetwork: f.providerNetwork, ProviderBridge: f.providerBridge}
	if f.overlay != "" {
		if c.Overlay, err = netip.ParseAddr(f.overlay); err != nil {
			return c, fmt.Errorf("--overlay-address: %w", err)
		}
	}
	c.Limits, err = f.limits.network()
	return c, err
}

// kvmUsable returns why KVM is not available. The existence of the device is not enough: in some
// virtual machines it exists but does not work.
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
	return errors.New("the processor has no hardware virtualization (neither vmx nor svm)")
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
		return c, fmt.Errorf("no capacity is left for pods: %d thousandths of a core and %d MiB; lower --reserve-memory-mib", c.CPUMillis, c.MemoryMiB)
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

// installBootFiles copies the boot files of machines to the state directory. There are
// three reasons. QEMU runs as its own user, which often cannot enter the directory in which they
// were built. A build must not change what a running agent boots. Debian's AppArmor rules for
// libvirt refuse firmware from QEMU's own directory.
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
	in, err := os.Open(from) //nolint:gosec // the operator sets the path
	if err != nil {
		return fmt.Errorf("boot file: %w; make build builds kernel and initramfs, and QEMU's package has the firmware", err)
	}
	defer in.Close() //nolint:errcheck // only opened for reading
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, raw) { //nolint:gosec // the agent's own state
		return nil
	}
	part := to + ".new"
	if err := os.WriteFile(part, raw, 0o644); err != nil { //nolint:gosec // QEMU's user reads it
		return err
	}
	return os.Rename(part, to)
}
