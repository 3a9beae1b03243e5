// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/xml"
	"fmt"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// Size is the size of a machine, and how it can change while the machine runs. More CPUs are plugged in, and stay: the guest stops using them. More memory
// is that of a virtio-mem device, of which the guest plugs as much as requested. Memory that the machine was started with stays.
type Size struct {
	CPUs         int `json:"cpus"`
	MaxCPUs      int `json:"maxCpus"`
	MemoryMiB    int `json:"memoryMiB"`    // that it was started with
	ExtraMiB     int `json:"extraMiB"`     // that can be plugged; 0: the size cannot change
	RequestedMiB int `json:"requestedMiB"` // that should be plugged
	PluggedMiB   int `json:"-"`            // that is plugged
	Queues       int `json:"queues"`       // of each disk: as many as the machine was started with CPUs. They stay when it gets more
}

// memoryBlockMiB is the unit in which memory is plugged: Linux plugs whole blocks of its page allocator's largest size (drivers/virtio/virtio_mem.c,
// virtio_mem_init_hotplug).
const memoryBlockMiB = 4

// The most that machines have: q35's with QEMU's largest number of CPUs, and the contract's memory, with what a machine may get in addition.
const (
	mostCPUs      = 288
	mostMemoryMiB = 64 << 20
)

// size returns the size of a machine to start. One that comes from another node has the size that it has there.
func (s Spec) size() Size {
	if s.Model != nil {
		if s.Model.Size == nil {
			return Size{CPUs: s.CPUs, MaxCPUs: s.CPUs, MemoryMiB: s.MemoryMiB}
		}
		return *s.Model.Size
	}
	return Size{CPUs: s.CPUs, MaxCPUs: max(s.CPUs, s.MaxCPUs), MemoryMiB: s.MemoryMiB, ExtraMiB: max(0, s.MaxMemoryMiB-s.MemoryMiB) / memoryBlockMiB * memoryBlockMiB, Queues: s.CPUs}
}

// check refuses a size that no machine has. It comes from another node.
func (s Size) check() error {
	if s.CPUs < 1 || s.CPUs > s.MaxCPUs || s.MaxCPUs > mostCPUs || s.MemoryMiB < 1 || s.MemoryMiB > mostMemoryMiB || s.ExtraMiB < 1 || s.ExtraMiB > mostMemoryMiB ||
		s.RequestedMiB < 0 || s.RequestedMiB > s.ExtraMiB || s.Queues < 1 || s.Queues > s.MaxCPUs {
		return fmt.Errorf("%+v is not a size of a machine", s)
	}
	return nil
}

// mostMiB returns the memory that the machine has, or that it may take by itself because that is requested.
func (s Size) mostMiB() int { return s.MemoryMiB + max(s.PluggedMiB, s.RequestedMiB) }

// memoryMiB returns the memory that the machine has.
func (s Size) memoryMiB() int { return s.MemoryMiB + s.PluggedMiB }

// apply makes a domain have this size.
func (s Size) apply(d *libvirtxml.Domain, slots *slots) {
	mib := func(n int) uint { return uint(n) } //nolint:gosec // checked, or bounded by the contract
	d.Memory = &libvirtxml.DomainMemory{Value: mib(s.MemoryMiB), Unit: "MiB"}
	d.VCPU = &libvirtxml.DomainVCPU{Placement: "static", Value: mib(s.MaxCPUs)}
	if s.CPUs < s.MaxCPUs {
		d.VCPU.Current = mib(s.CPUs)
	}
	if s.ExtraMiB == 0 {
		return
	}
	d.Memory.Value += mib(s.ExtraMiB) // libvirt counts the whole device, however little of it is plugged
	d.MaximumMemory = &libvirtxml.DomainMaxMemory{Value: mib(s.MemoryMiB + s.ExtraMiB), Unit: "MiB", Slots: 1}
	// libvirt wants a NUMA node into which the memory is plugged.
	d.CPU.Numa = &libvirtxml.DomainNuma{Cell: []libvirtxml.DomainCell{{ID: new(uint), CPUs: fmt.Sprintf("0-%d", s.MaxCPUs-1), Memory: mib(s.MemoryMiB), Unit: "MiB"}}}
	device := memoryDevice(s)
	device.Address = slots.next()
	d.Devices.Memorydevs = append(d.Devices.Memorydevs, device)
}

func memoryDevice(s Size) libvirtxml.DomainMemorydev {
	mib := func(n int) uint { return uint(n) } //nolint:gosec // as above
	return libvirtxml.DomainMemorydev{Model: "virtio-mem", Target: &libvirtxml.DomainMemorydevTarget{
		Size: &libvirtxml.DomainMemorydevTargetSize{Value: mib(s.ExtraMiB), Unit: "MiB"}, Node: &libvirtxml.DomainMemorydevTargetNode{},
		Block:     &libvirtxml.DomainMemorydevTargetBlock{Value: memoryBlockMiB, Unit: "MiB"},
		Requested: &libvirtxml.DomainMemorydevTargetRequested{Value: mib(s.RequestedMiB), Unit: "MiB"},
	}}
}

// sizeOf returns the size of a machine that runs, by libvirt's description.
func sizeOf(text string, x *libvirtxml.Domain) Size {
	var s Size
	if v := x.VCPU; v != nil {
		s.MaxCPUs, s.CPUs = int(v.Value), int(v.Value) //nolint:gosec // libvirt's
		if v.Current > 0 {
			s.CPUs = int(v.Current) //nolint:gosec // as above
		}
	}
	if x.Memory != nil {
		s.MemoryMiB = mibOf(x.Memory.Value, x.Memory.Unit)
	}
	if x.Devices == nil {
		return s
	}
	for _, d := range x.Devices.Disks {
		if d.Driver != nil && d.Driver.Queues != nil {
			s.Queues = int(*d.Driver.Queues) //nolint:gosec // as above
		}
	}
	for _, m := range x.Devices.Memorydevs {
		if t := m.Target; m.Model == "virtio-mem" && t != nil && t.Size != nil {
			s.ExtraMiB = mibOf(t.Size.Value, t.Size.Unit)
			if t.Requested != nil {
				s.RequestedMiB = mibOf(t.Requested.Value, t.Requested.Unit)
			}
		}
	}
	s.PluggedMiB = pluggedMiB(text)
	if x.CPU != nil && x.CPU.Numa != nil && len(x.CPU.Numa.Cell) > 0 { // libvirt adds what is plugged to the domain's memory
		s.MemoryMiB = mibOf(x.CPU.Numa.Cell[0].Memory, x.CPU.Numa.Cell[0].Unit)
	}
	return s
}

// pluggedMiB reads how much memory is plugged, which package libvirtxml leaves out.
func pluggedMiB(text string) int {
	var x struct {
		Current []struct {
			Value uint   `xml:",chardata"`
			Unit  string `xml:"unit,attr"`
		} `xml:"devices>memory>target>current"`
	}
	if xml.Unmarshal([]byte(text), &x) != nil || len(x.Current) == 0 {
		return 0
	}
	return mibOf(x.Current[0].Value, x.Current[0].Unit)
}

// mibOf converts an amount of memory in one of the units that libvirt prints.
func mibOf(value uint, unit string) int {
	switch unit {
	case "MiB":
		return int(value) //nolint:gosec // libvirt's
	case "GiB":
		return int(value) << 10 //nolint:gosec // as above
	default: // KiB
		return int(value) >> 10 //nolint:gosec // as above
	}
}

// Resize lets a machine have so many CPUs and so much memory, within what it can have, and returns what it has. Memory takes the guest some time. CPUs are
// never taken away.
func (m *Manager) Resize(ctx context.Context, pod uuid.UUID, cpus, memoryMiB int) (cpusNow, memoryNow int, _ error) {
	var s Size
	err := m.change(ctx, pod, "change the size", func(dom *libvirt.Domain) error {
		text, err := dom.GetXMLDesc(0)
		if err != nil {
			return err
		}
		var x libvirtxml.Domain
		if err := x.Unmarshal(text); err != nil {
			return err
		}
		s = sizeOf(text, &x)
		if want := min(cpus, s.MaxCPUs); want > s.CPUs {
			if err := dom.SetVcpusFlags(uint(want), libvirt.DOMAIN_VCPU_LIVE); err != nil { //nolint:gosec // the contract bounds it
				return err
			}
			s.CPUs = want
		}
		want := (max(0, memoryMiB-s.MemoryMiB) + memoryBlockMiB - 1) / memoryBlockMiB * memoryBlockMiB
		if want = min(want, s.ExtraMiB); want == s.RequestedMiB {
			return nil
		}
		s.RequestedMiB = want
		if err := requestMemory(dom, &x, s); err != nil {
			return err
		}
		// What is plugged now is the most that the machine can have: QEMU refuses to plug more than requested.
		if text, err = dom.GetXMLDesc(0); err == nil {
			s.PluggedMiB = pluggedMiB(text)
		}
		return err
	})
	return s.CPUs, s.memoryMiB(), err
}

func requestMemory(dom *libvirt.Domain, x *libvirtxml.Domain, s Size) error {
	for _, device := range x.Devices.Memorydevs {
		if device.Model != "virtio-mem" {
			continue
		}
		device.Target.Requested = memoryDevice(s).Target.Requested
		text, err := device.Marshal()
		if err != nil {
			return err
		}
		return dom.UpdateDeviceFlags(text, libvirt.DOMAIN_DEVICE_MODIFY_LIVE)
	}
	return fmt.Errorf("the machine has no memory to plug")
}
