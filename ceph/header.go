// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// Limits of what is read of a header. A header of ours has about 12 keys and a few hundred bytes.
const (
	maxHeaderKeys  = 100
	maxHeaderBytes = 64 << 10
)

// errLargeHeader means that a header is larger than any that librbd writes for our disks.
var errLargeHeader = errors.New("the header is too large")

// volatile reports whether a key changes while a disk is used as it should be.
func volatile(key string) bool {
	return key == "access_timestamp" || key == "modify_timestamp" || key == "flags"
}

// settings are librbd's own for every disk that a pod writes, where librbd reads them: in the header.
//
// A client that takes over the lock of another would first put that one on the blocklist, which a pod's key may not do, so all its writes would fail.
// It need not: a placement begins only after the one before has ended, or is fenced.
var settings = map[string]string{"conf_rbd_blocklist_on_break_lock": "false"}

// withSettings returns the header with the settings, which disks of earlier versions do not have.
func (h Header) withSettings() Header {
	all := maps.Clone(h)
	for name, value := range settings {
		all["metadata_"+name] = []byte(value)
	}
	return all
}

func headerObject(id string) string { return "rbd_header." + id }

// readHeader reads a header without interpreting it. It reads one key per request, because a pod may have written large values: the OSD limits
// each to 90 MB, and a request to 1 GiB. It returns errLargeHeader, wrapped, for a header that no client of ours has written.
func (c *Cluster) readHeader(id string) (Header, error) {
	header, after, size := Header{}, "", 0
	for {
		next, err := c.volumes.GetOmapValues(headerObject(id), after, "", 1)
		if err != nil {
			return nil, fmt.Errorf("header of disk %s: %w", id, err)
		}
		if len(next) == 0 {
			return header, nil
		}
		for key, value := range next {
			header[key], after = value, key
			size += len(key) + len(value)
		}
		if len(header) > maxHeaderKeys || size > maxHeaderBytes {
			return nil, fmt.Errorf("header of disk %s: %w", id, errLargeHeader)
		}
	}
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

// restoreHeader makes the header of the disk with this ID as it was when the disk was created, and reports whether it was different, except for
// snapshots that the server has marked. It reads and writes keys and values only, so nothing in them can harm the server.
func (c *Cluster) restoreHeader(id string, original Header, marked ...uint64) (changed bool, _ error) {
	kept := len(original) > 0
	if !kept {
		original = minimal(id)
	}
	old := original
	original = original.withSettings()
	op := rados.CreateWriteOp()
	defer op.Release()
	now, err := c.readHeader(id)
	if errors.Is(err, errLargeHeader) && kept { // all of it goes at once
		op.CleanOmap()
		op.SetOmap(original)
		return true, op.Operate(c.volumes, headerObject(id), rados.OperationNoFlag)
	}
	if err != nil {
		return false, err
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
	for _, m := range marked {
		foreign = slices.DeleteFunc(foreign, func(key string) bool { return key == snapshotKey(m) })
		if m != 0 {
			delete(wrong, "snap_seq")
		}
	}
	for key := range wrong {
		_, kept := old[key]
		_, has := now[key]
		changed = changed || kept || has // a setting that an earlier version did not make is not a change
	}
	return changed || len(foreign) > 0, op.Operate(c.volumes, headerObject(id), rados.OperationNoFlag)
}
