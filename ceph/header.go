// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"

	"github.com/ceph/go-ceph/rados"
)

// Header is the header of an RBD image: the omap of its header object. It contains the image's size, the name of its data objects, its
// features, parent and snapshots.
//
// A pod's key can write its disks' headers, because QEMU keeps a watch there and Ceph has no finer right. So the header that exists when a
// disk is created is kept outside Ceph, and nothing reads a header again before restoreHeader has compared it.
type Header map[string][]byte

// maxHeader limits how many keys of a header are read. A header of ours has about 12.
const maxHeader = 1000

// volatile reports whether a key changes while a disk is used as it should be.
func volatile(key string) bool {
	return key == "access_timestamp" || key == "modify_timestamp" || key == "flags"
}

func headerObject(id string) string { return "rbd_header." + id }

// readHeader reads a header without interpreting it.
func (c *Cluster) readHeader(id string) (Header, error) {
	values, err := c.volumes.GetOmapValues(headerObject(id), "", "", maxHeader)
	if err != nil {
		return nil, fmt.Errorf("header of disk %s: %w", id, err)
	}
	return values, nil
}

// minimal is what is known about the header of a disk whose original was not kept: librbd's default size of objects (2^22 bytes), and the
// name of the data objects.
func minimal(id string) Header {
	prefix := "rbd_data." + id
	return Header{"order": {22}, "object_prefix": append(binary.LittleEndian.AppendUint32(nil, uint32(len(prefix))), prefix...)} //nolint:gosec // a short name
}

// foreign reports whether a key that the original does not have must go. If the original was not kept, these are the keys for snapshots
// and for data elsewhere, which no disk of ours has.
func (h Header) foreign(key string, kept bool) bool {
	if _, ours := h[key]; ours || volatile(key) {
		return false
	}
	return kept || strings.HasPrefix(key, "snapshot_") || key == "data_pool_id" || strings.HasPrefix(key, "stripe_")
}

// restoreHeader makes the header of the disk with this ID as it was when the disk was created, and reports whether it was different. It reads
// and writes keys and values only, so nothing in them can harm the server.
func (c *Cluster) restoreHeader(id string, original Header) (changed bool, _ error) {
	kept := len(original) > 0
	if !kept {
		original = minimal(id)
	}
	now, err := c.readHeader(id)
	if err != nil {
		return false, err
	}
	op := rados.CreateWriteOp()
	defer op.Release()
	if len(now) >= maxHeader && kept { // a pod has written thousands of keys; all of them go at once
		op.CleanOmap()
		op.SetOmap(original)
		return true, op.Operate(c.volumes, headerObject(id), rados.OperationNoFlag)
	}
	var foreign []string
	for key := range now {
		if original.foreign(key, kept) {
			foreign = append(foreign, key)
		}
	}
	wrong := maps.Clone(original)
	maps.DeleteFunc(wrong, func(key string, value []byte) bool {
		is, has := now[key]
		return has && (volatile(key) || bytes.Equal(is, value))
	})
	if len(foreign) == 0 && len(wrong) == 0 {
		return false, nil
	}
	if len(foreign) > 0 {
		op.RmOmapKeys(foreign)
	}
	if len(wrong) > 0 {
		op.SetOmap(wrong)
	}
	return true, op.Operate(c.volumes, headerObject(id), rados.OperationNoFlag)
}
