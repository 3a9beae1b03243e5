// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// GrowDisk lets a machine see that a disk, named by its serial, has become larger. A disk that it sees with this size or more stays as it is.
func (m *Manager) GrowDisk(ctx context.Context, pod uuid.UUID, serial string, bytes int64) error {
	return m.change(ctx, pod, "grow a disk", func(dom *libvirt.Domain) error {
		disk, err := diskOf(dom, serial)
		if err != nil {
			return err
		}
		target := disk.Target.Dev
		info, err := dom.GetBlockInfo(target, 0)
		if err != nil || info.Capacity >= uint64(bytes) { //nolint:gosec // the contract bounds it
			return err
		}
		return dom.BlockResize(target, uint64(bytes), libvirt.DOMAIN_BLOCK_RESIZE_BYTES) //nolint:gosec // as above
	})
}

// LimitDisk changes how much a disk of a running machine, named by its serial, can read and write. limits are as in Disk.
func (m *Manager) LimitDisk(ctx context.Context, pod uuid.UUID, serial string, limits *DiskLimits) error {
	return m.change(ctx, pod, "limit a disk", func(dom *libvirt.Domain) error {
		disk, err := diskOf(dom, serial)
		if err != nil {
			return err
		}
		want := m.cfg.limitsOf(serial, limits)
		has := limitsIn(disk.IOTune)
		if limits == nil && has.group == want.group { // the machine keeps the limits that it has started with
			return nil
		}
		none := DiskLimits{}
		if has == want || has.DiskLimits == none && want.DiskLimits == none {
			return nil
		}
		p := libvirt.DomainBlockIoTuneParameters{
			TotalBytesSecSet: true, TotalBytesSec: want.BytesPerSecond, TotalIopsSecSet: true, TotalIopsSec: want.OperationsPerSecond,
		}
		if want.DiskLimits != none { // a disk without limits is in no group
			p.GroupNameSet, p.GroupName = true, want.group
		}
		return dom.SetBlockIoTune(disk.Target.Dev, &p, libvirt.DOMAIN_AFFECT_LIVE)
	})
}

func limitsIn(t *libvirtxml.DomainDiskIOTune) groupLimits {
	if t == nil {
		return groupLimits{}
	}
	return groupLimits{DiskLimits{BytesPerSecond: t.TotalBytesSec, OperationsPerSecond: t.TotalIopsSec}, t.GroupName}
}

// diskOf returns libvirt's description of the disk with this serial.
func diskOf(dom *libvirt.Domain, serial string) (*libvirtxml.DomainDisk, error) {
	text, err := dom.GetXMLDesc(0)
	if err != nil {
		return nil, err
	}
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return nil, err
	}
	for _, d := range x.Devices.Disks {
		if d.Serial == serial && d.Target != nil {
			return &d, nil
		}
	}
	return nil, fmt.Errorf("the machine has no disk %s", serial)
}
