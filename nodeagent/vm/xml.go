// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

// channelName is the virtio-serial port that husk-init listens on (guest.PortName).
const channelName = "husk.0"

// hardLimitSlackMiB is added to guest memory and overhead for the cgroup's limit. The scheduler
// allocates guest memory and overhead. The limit is there to stop a QEMU process that uses far too
// much memory, not one slightly above the measured overhead.
const hardLimitSlackMiB = 64

// tcgCacheMiB bounds the cache of translated code, which would otherwise grow to a gigabyte.
const tcgCacheMiB = 64

// lastSlot is the last free slot of the root bus; the chipset is at 31.
const lastSlot = 28

// noNesting turns off hardware virtualization inside of a machine: nested virtualization is a large
// part of KVM's attack surface.
var noNesting = []libvirtxml.DomainCPUFeature{{Policy: "disable", Name: "vmx"}, {Policy: "disable", Name: "svm"}}

func decodeKey(key string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, fmt.Errorf("the ceph key is not base64: %w", err)
	}
	return raw, nil
}

// domainXML describes a pod's machine: a q35 without graphics, USB or HPET, and with virtio devices
// only. Qboot boots kernel and initramfs directly. Unless there are too many devices, they are on
// the root bus itself, because a root port per device costs boot time.
func domainXML(cfg Config, spec Spec, user uint32) (string, error) {
	meta, err := xml.Marshal(metadata{Generation: spec.Generation, Placement: spec.Placement, Tenant: spec.TenantID, Node: cfg.Node})
	if err != nil {
		return "", err
	}
	slots := slots{spread: len(spec.Disks)+4+len(spec.Cards) > lastSlot}
	d := libvirtxml.Domain{
		Type: "kvm", Name: domainName(spec.PodID), UUID: spec.PodID.String(),
		Metadata:   &libvirtxml.DomainMetadata{XML: string(meta)},
		CPU:        &libvirtxml.DomainCPU{Mode: "host-model", Features: noNesting},
		OnPoweroff: "destroy", OnReboot: "destroy", OnCrash: "destroy",
		OS: &libvirtxml.DomainOS{
			Type:   &libvirtxml.DomainOSType{Arch: "x86_64", Machine: "q35", Type: "hvm"},
			Loader: &libvirtxml.DomainLoader{Type: "rom", Path: cfg.Firmware},
			Kernel: cfg.Kernel, Initrd: cfg.Initramfs, Cmdline: cfg.Cmdline,
		},
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		Clock:    &libvirtxml.DomainClock{Offset: "utc", Timer: []libvirtxml.DomainTimer{{Name: "hpet", Present: "no"}}},
		// Kernel and initramfs are shared by all pods and must stay owned by root. With relabel, libvirt
		// would change their owner to QEMU's user.
		SecLabel: []libvirtxml.DomainSecLabel{{Type: "static", Model: "dac", Relabel: "no", Label: label(user)}},
		// Merged pages of two tenants tell each of them, by the time of a write, what the other has.
		MemoryBacking: &libvirtxml.DomainMemoryBacking{MemoryNosharepages: &libvirtxml.DomainMemoryNosharepages{}},
		Devices: &libvirtxml.DomainDeviceList{
			Controllers: []libvirtxml.DomainController{
				{Type: "usb", Model: "none"},
				{Type: "virtio-serial", Index: new(uint), Address: slots.next()},
			},
			Interfaces: interfaces(spec, &slots),
			Channels: []libvirtxml.DomainChannel{{
				Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Mode: "bind"}},
				Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: channelName}},
			}},
			Consoles: []libvirtxml.DomainConsole{{
				Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
				Target: &libvirtxml.DomainConsoleTarget{Type: "virtio"},
				Log:    &libvirtxml.DomainChardevLog{File: ConsoleLog(cfg.LogDir, spec.PodID.String()), Append: "on"},
			}},
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "none"},
		},
	}
	if cfg.Emulate {
		d.Type = "qemu"
		// Without a list of features: with one, static programs fail in the guest (glibc's assertion in
		// _dl_get_origin), with Debian's QEMU 7.2. Emulated nesting is no part of KVM anyway.
		d.CPU = &libvirtxml.DomainCPU{Mode: "maximum"}
		d.Features.TCG = &libvirtxml.DomainFeatureTCG{TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB", Size: tcgCacheMiB}}
	}
	spec.Model.apply(&d)
	size := spec.size()
	size.apply(&d, &slots)
	encrypted := 0
	for i, disk := range spec.Disks {
		x := diskXML(spec, disk, i, slots.next())
		if disk.Passphrase != "" {
			x.Source.Encryption = &libvirtxml.DomainDiskEncryption{
				Format: "luks", Engine: "qemu", Secrets: []libvirtxml.DomainDiskSecret{{Type: "passphrase", UUID: passphraseID(spec.PodID, encrypted).String()}},
			}
			encrypted++
		}
		x.IOTune = cfg.limitsOf(disk.Serial, disk.Limits).tune()
		d.Devices.Disks = append(d.Devices.Disks, x)
	}
	if spec.ScratchGiB > 0 {
		x := scratchXML(cfg, spec, slots.next())
		x.IOTune = cfg.limitsOf(ScratchSerial, nil).tune()
		d.Devices.Disks = append(d.Devices.Disks, x)
	}
	for _, x := range d.Devices.Disks {
		if size.Queues > 0 {
			x.Driver.Queues = new(uint(size.Queues)) //nolint:gosec // checked
		}
	}
	return d.Marshal()
}

func domainName(pod uuid.UUID) string { return "husk-" + pod.String() }

// scratchXML describes the scratch disk. The guest has a page cache of its own, so its data does not also fill the node's. If the node's file
// system is full, the guest gets the error; by default, libvirt would stop the machine.
func scratchXML(cfg Config, spec Spec, address *libvirtxml.DomainAddress) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Device: "disk", Serial: ScratchSerial, Address: address,
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw", Cache: "none", Discard: "unmap", ErrorPolicy: "report"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: scratchFile(cfg.ScratchDir, spec.PodID)}},
		Target: &libvirtxml.DomainDiskTarget{Dev: diskName(len(spec.Disks)), Bus: "virtio"},
	}
}

// groupLimits are the limits of a group of disks, which can read and write so much together.
type groupLimits struct {
	DiskLimits
	group string
}

// limitsOf returns the limits of a disk: its own, or those of the group of all other disks of the machine.
func (c Config) limitsOf(serial string, own *DiskLimits) groupLimits {
	if own == nil {
		return groupLimits{c.Disks, "pod"}
	}
	return groupLimits{*own, serial}
}

// tune returns the limits in libvirt's form.
func (l groupLimits) tune() *libvirtxml.DomainDiskIOTune {
	if l.DiskLimits == (DiskLimits{}) {
		return nil
	}
	return &libvirtxml.DomainDiskIOTune{TotalBytesSec: l.BytesPerSecond, TotalIopsSec: l.OperationsPerSecond, GroupName: l.group}
}

// ConsoleLog returns the path of a pod's console log.
func ConsoleLog(dir, pod string) string { return filepath.Join(dir, pod+".console") }

func diskXML(spec Spec, disk Disk, i int, address *libvirtxml.DomainAddress) libvirtxml.DomainDisk {
	hosts := make([]libvirtxml.DomainDiskSourceHost, 0, len(spec.Monitors))
	for _, m := range spec.Monitors {
		hosts = append(hosts, libvirtxml.DomainDiskSourceHost{Name: m.Host, Port: m.Port})
	}
	x := libvirtxml.DomainDisk{
		Device: "disk", Serial: disk.Serial, Address: address,
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw", Cache: "writeback", Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{Network: &libvirtxml.DomainDiskSourceNetwork{
			Protocol: "rbd", Name: disk.Pool + "/" + disk.Name, Hosts: hosts,
			Auth: &libvirtxml.DomainDiskAuth{
				Username: spec.CephUser, Secret: &libvirtxml.DomainDiskSecret{Type: "ceph", UUID: secretID(spec.PodID).String()},
			},
		}},
		Target: &libvirtxml.DomainDiskTarget{Dev: diskName(i), Bus: "virtio"},
	}
	if disk.ReadOnly {
		x.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	}
	return x
}

// diskName counts: vda to vdz, then vdaa and so on.
func diskName(i int) string {
	name := ""
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('a'+(i-1)%26)) + name
	}
	return "vd" + name
}

// slots assigns addresses on the root bus, or none if libvirt should distribute the devices over
// root ports.
type slots struct {
	used   uint
	spread bool
}

func (s *slots) next() *libvirtxml.DomainAddress {
	if s.spread {
		return nil
	}
	s.used++
	zero := uint(0)
	slot := s.used
	return &libvirtxml.DomainAddress{PCI: &libvirtxml.DomainAddressPCI{Domain: &zero, Bus: &zero, Slot: &slot, Function: &zero}}
}

// interfaces returns the network cards. The agent creates their taps, so that they are guarded before the machine starts.
func interfaces(spec Spec, slots *slots) []libvirtxml.DomainInterface {
	all := make([]libvirtxml.DomainInterface, 0, len(spec.Cards))
	for _, c := range spec.Cards {
		all = append(all, libvirtxml.DomainInterface{
			MAC:     &libvirtxml.DomainInterfaceMAC{Address: c.MAC},
			Source:  &libvirtxml.DomainInterfaceSource{Ethernet: &libvirtxml.DomainInterfaceSourceEthernet{}},
			Target:  &libvirtxml.DomainInterfaceTarget{Dev: c.Tap, Managed: "no"},
			Model:   &libvirtxml.DomainInterfaceModel{Type: "virtio"},
			MTU:     &libvirtxml.DomainInterfaceMTU{Size: uint(spec.MTU)}, //nolint:gosec // the agent sets it
			ROM:     &libvirtxml.DomainROM{Enabled: "no"},
			Address: slots.next(),
		})
	}
	return all
}
