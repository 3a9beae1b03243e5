// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
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

// restoreHeader makes the header of a disk as it was when the disk was created, and reports whether it was different. It reads and writes
// keys and values only, so nothing in them can harm the server.
func (c *Cluster) restoreHeader(d Disk) (changed bool, _ error) {
	if len(d.Header) == 0 {
		return false, fmt.Errorf("disk %s: its original header is not known", d.Name)
	}
	now, err := c.readHeader(d.ID)
	if err != nil {
		return false, err
	}
	if len(now) >= maxHeader { // a pod has written thousands of keys; all of them go at once
		op := rados.CreateWriteOp()
		defer op.Release()
		op.CleanOmap()
		op.SetOmap(d.Header)
		return true, op.Operate(c.volumes, headerObject(d.ID), rados.OperationNoFlag)
	}
	var foreign []string
	for key := range now {
		if _, ours := d.Header[key]; !ours && !volatile(key) {
			foreign = append(foreign, key)
		}
	}
	wrong := maps.Clone(d.Header)
	maps.DeleteFunc(wrong, func(key string, value []byte) bool {
		is, has := now[key]
		return has && (volatile(key) || bytes.Equal(is, value))
	})
	if len(foreign) == 0 && len(wrong) == 0 {
		return false, nil
	}
	op := rados.CreateWriteOp()
	defer op.Release()
	if len(foreign) > 0 {
		slices.SortFunc(foreign, strings.Compare)
		op.RmOmapKeys(foreign)
	}
	if len(wrong) > 0 {
		op.SetOmap(wrong)
	}
	return true, op.Operate(c.volumes, headerObject(d.ID), rados.OperationNoFlag)
}
