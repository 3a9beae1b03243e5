// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

func describeIt(t *testing.T, emulate bool, disks int) (libvirtxml.Domain, string) {
	t.Helper()
	spec := Spec{
		PodID: uuid.New(), TenantID: uuid.New(), Generation: 3, CPUs: 2, MemoryMiB: 256, CephUser: "pod", CephKey: "c2VjcmV0",
		Monitors: []Address{{"192.0.2.1", "6789"}}, Cards: []Card{{"hkt0", "02:00:00:00:00:01"}, {"hku0", "12:00:00:00:00:01"}}, MTU: 1450,
	}
	for i := range disks {
		spec.Disks = append(spec.Disks, Disk{Pool: "volumes", Name: fmt.Sprintf("disk-%d", i), Serial: fmt.Sprint(i), ReadOnly: i == 0})
	}
	text, err := domainXML(Config{Node: uuid.New(), Emulate: emulate, Kernel: "/k", Initramfs: "/i", Firmware: "/f"}, spec, 1900000007)
	if err != nil {
		t.Fatal(err)
	}
	var d libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d, text
}

func TestAMachineHasTheSizeOfItsPodAndNoUnneededDevices(t *testing.T) {
	t.Parallel()
	d, text := describeIt(t, false, 2)
	if d.Type != "kvm" || d.VCPU.Value != 2 || d.Memory.Value != 256 {
		t.Errorf("a machine with 2 CPUs and 256 MiB is described as %s with %d CPUs and %d MiB", d.Type, d.VCPU.Value, d.Memory.Value)
	}
	for _, never := range []string{"<video", "<graphics", "<sound", "<tpm", "<input", "c2VjcmV0"} {
		if strings.Contains(text, never) {
			t.Errorf("the description has %s:\n%s", never, text)
		}
	}
	if d.Devices.Disks[0].ReadOnly == nil || d.Devices.Disks[1].ReadOnly != nil {
		t.Error("the image must be read-only and the volume must not")
	}
	if d.SecLabel[0].Relabel != "no" {
		t.Error("libvirt would change the owner of kernel and initramfs to QEMU's user")
	}
}

func TestAnEmulatedMachineIsOfTypeQemu(t *testing.T) {
	t.Parallel()
	d, _ := describeIt(t, true, 1)
	if d.Type != "qemu" || d.Features.TCG == nil {
		t.Errorf("an emulated machine is described as %s", d.Type)
	}
	if len(d.CPU.Features) > 0 {
		t.Error("with a list of features, static programs fail in an emulated guest")
	}
}

func TestAMachineHasNoNestedVirtualizationAndSharesNoPages(t *testing.T) {
	t.Parallel()
	d, text := describeIt(t, false, 1)
	off := map[string]bool{}
	for _, f := range d.CPU.Features {
		off[f.Name] = f.Policy == "disable"
	}
	if !off["vmx"] || !off["svm"] {
		t.Errorf("nested virtualization is not off: %+v", d.CPU.Features)
	}
	if d.MemoryBacking == nil || d.MemoryBacking.MemoryNosharepages == nil {
		t.Errorf("pages of the machine may be shared:\n%s", text)
	}
	if id, ok := userOf(d); !ok || id != 1900000007 {
		t.Errorf("the machine runs as %d", id)
	}
}

func TestTheDisksOfAMachineShareOneLimitUnlessTheyHaveTheirOwn(t *testing.T) {
	t.Parallel()
	unlimited, _ := describeIt(t, false, 2)
	if tune := unlimited.Devices.Disks[0].IOTune; tune != nil {
		t.Errorf("without limits, a disk has %+v", tune)
	}
	text, err := domainXML(Config{Node: uuid.New(), Disks: DiskLimits{BytesPerSecond: 1 << 20, OperationsPerSecond: 100}}, Spec{
		PodID: uuid.New(), CPUs: 1, MemoryMiB: 64, Disks: []Disk{{Name: "image", ReadOnly: true}, {Name: "volume"}, {Name: "own", Serial: "vol1", Limits: &DiskLimits{OperationsPerSecond: 7}}, {Name: "free", Serial: "vol2", Limits: &DiskLimits{}}},
	}, 1900000007)
	if err != nil {
		t.Fatal(err)
	}
	var d libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	own, free := d.Devices.Disks[2].IOTune, d.Devices.Disks[3].IOTune
	if own == nil || own.TotalBytesSec != 0 || own.TotalIopsSec != 7 || own.GroupName != "vol1" || free != nil {
		t.Errorf("the disks with limits of their own have %+v and %+v", own, free)
	}
	for _, disk := range d.Devices.Disks[:2] {
		if tune := disk.IOTune; tune == nil || tune.TotalBytesSec != 1<<20 || tune.TotalIopsSec != 100 || tune.GroupName == "" || tune.GroupName != d.Devices.Disks[0].IOTune.GroupName {
			t.Errorf("the limits of disk %s are %+v", disk.Target.Dev, tune)
		}
	}
}

func TestDevicesAreOnTheRootBusWhileTheyFit(t *testing.T) {
	t.Parallel()
	few, _ := describeIt(t, false, 20)
	seen := map[uint]bool{}
	for _, disk := range few.Devices.Disks {
		slot := *disk.Address.PCI.Slot
		if seen[slot] || slot == 0 || slot > lastSlot {
			t.Errorf("slot %d is used twice or not available", slot)
		}
		seen[slot] = true
	}
	many, _ := describeIt(t, false, 32)
	if many.Devices.Disks[0].Address != nil {
		t.Error("with more devices than slots, libvirt must distribute them")
	}
	names := map[string]bool{}
	for _, disk := range many.Devices.Disks {
		names[disk.Target.Dev] = true
	}
	if len(names) != 32 || !names["vdz"] || !names["vdaa"] {
		t.Errorf("the disks are named %v", names)
	}
}

// A node that an attacker controls names a model of a processor with nested virtualization, and does not turn that off.
func TestAMachineFromAnotherNodeHasNoNestedVirtualization(t *testing.T) {
	t.Parallel()
	m := &Model{Type: "pc-q35-7.2", CPU: &CPU{Model: "EPYC", Features: []Feature{{"x2apic", "require"}, {"vmx", "disable"}}}}
	if err := m.Check(false); err != nil {
		t.Fatal(err)
	}
	d := &libvirtxml.Domain{OS: &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{}}}
	m.apply(d)
	off := map[string]int{}
	for _, f := range d.CPU.Features {
		if f.Policy == "disable" {
			off[f.Name]++
		}
	}
	if off["vmx"] != 1 || off["svm"] != 1 {
		t.Errorf("the features of the processor are %+v", d.CPU.Features)
	}
}

func TestEncryptedDisksReferToASecretEach(t *testing.T) {
	t.Parallel()
	spec := Spec{PodID: uuid.New(), CPUs: 1, MemoryMiB: 128, CephKey: "c2VjcmV0", Disks: []Disk{{Serial: "plain"}, {Serial: "a", Passphrase: "hunter2"}, {Serial: "b", Passphrase: "hunter3"}}}
	text, err := domainXML(Config{Node: uuid.New()}, spec, 1900000007)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "hunter") {
		t.Errorf("the description has a passphrase:\n%s", text)
	}
	var d libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]bool{}
	for i, disk := range d.Devices.Disks {
		switch e := disk.Source.Encryption; {
		case i == 0 && e != nil:
			t.Errorf("a disk without a passphrase is described as %+v", e)
		case i > 0:
			secrets[e.Secrets[0].UUID] = e.Format == "luks" && e.Engine == "qemu"
		}
	}
	if len(secrets) != 2 || !secrets[passphraseID(spec.PodID, 0).String()] || !secrets[passphraseID(spec.PodID, 1).String()] {
		t.Errorf("the disks refer to %v", secrets)
	}
}
