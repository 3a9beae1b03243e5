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
		target, err := targetOf(dom, serial)
		if err != nil {
			return err
		}
		info, err := dom.GetBlockInfo(target, 0)
		if err != nil || info.Capacity >= uint64(bytes) { //nolint:gosec // the contract bounds it
			return err
		}
		return dom.BlockResize(target, uint64(bytes), libvirt.DOMAIN_BLOCK_RESIZE_BYTES) //nolint:gosec // as above
	})
}

// targetOf returns libvirt's name of the disk with this serial.
func targetOf(dom *libvirt.Domain, serial string) (string, error) {
	text, err := dom.GetXMLDesc(0)
	if err != nil {
		return "", err
	}
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return "", err
	}
	for _, d := range x.Devices.Disks {
		if d.Serial == serial && d.Target != nil {
			return d.Target.Dev, nil
		}
	}
	return "", fmt.Errorf("the machine has no disk %s", serial)
}
