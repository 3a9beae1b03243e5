// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// RemoveDisk removes a clone or volume, if there is one. It returns *BusyError while a client has
// it open. A client that crashed without closing it counts for up to 30 seconds.
//
// The header of a disk is written by hostile pods, and librbd believes it: which objects are the
// disk's data, what its parent is, how large it is. So the
// header is restored first. Then a process of its own removes the disk, with a key that can do
// nothing else. If librbd crashes or hangs, only this process does.
func (c *Cluster) RemoveDisk(ctx context.Context, d Disk) error {
	if err := checkName("disk", d.Name); err != nil {
		return err
	}
	id, err := c.diskID(d.Name)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.Name, err)
	}
	if d.ID != "" && d.ID != id {
		d.Header = nil // the header of an earlier attempt to create the disk
	}
	if _, err := c.restoreHeader(id, d.Header); err != nil && !notFound(err) {
		return err
	}
	caps, err := c.removalCaps(d, id)
	if err != nil {
		return err
	}
	err = c.inChildAs(ctx, removalPrefix+d.Name, caps, c.taskFor(toRemove, d.Name))
	if busy, ok := errors.AsType[*BusyError](err); ok {
		return c.nameUsers(ctx, busy)
	}
	return err
}

// nameUsers adds who has a disk open.
func (c *Cluster) nameUsers(ctx context.Context, busy *BusyError) error {
	watchers, err := c.Watchers(ctx, busy.Name)
	for _, w := range watchers {
		busy.By = append(busy.By, w.Address)
	}
	if notFound(err) {
		err = nil
	}
	return errors.Join(busy, err)
}

// RemoveReplaced removes the RBD image that a volume had before it is restored, if it still has this one.
func (c *Cluster) RemoveReplaced(ctx context.Context, d Disk) error {
	if d.ID == "" {
		return nil
	}
	id, err := c.diskID(d.Name)
	if notFound(err) || err == nil && id != d.ID {
		return nil
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.Name, err)
	}
	return c.RemoveDisk(ctx, d)
}

// removalCaps give access to everything that belongs to one disk, to the directory of the pool, and to the header of the import or snapshot
// that the disk is a clone of, where RBD keeps the list of clones. For a disk without an owner, that may be any.
func (c *Cluster) removalCaps(d Disk, id string) (string, error) {
	parents := []string{"rbd_header." + d.ParentID}
	if d.Digest != "" {
		importID, err := c.importID(d.Digest)
		if err != nil && !notFound(err) {
			return "", err
		}
		parents[0] += importID
	}
	var caps []string
	for _, prefix := range []string{
		"rbd_id." + d.Name, headerObject(id), "rbd_data." + id + ".", "rbd_object_map." + id, "journal." + id, "rbd_directory", "rbd_children", "rbd_info", "rbd_trash", "rbd_mirroring",
	} {
		caps = append(caps, fmt.Sprintf("allow rwx pool=%s namespace=\"\" object_prefix %s", c.cfg.VolumesPool, prefix))
	}
	if d.ID != "" && parents[0] == "rbd_header." { // a volume that has all its data
		parents = nil
	}
	if d.OldParentID != "" {
		parents = append(parents, "rbd_header."+d.OldParentID)
	}
	for _, prefix := range append(parents, "rbd_directory", "rbd_info") {
		caps = append(caps, fmt.Sprintf("allow rwx pool=%s namespace=\"\" object_prefix %s", c.cfg.ImagesPool, prefix))
	}
	return strings.Join(caps, ", "), nil
}

// diskID returns RBD's ID of a disk from an object that no pod can write.
func (c *Cluster) diskID(name string) (string, error) {
	const most = 128
	raw := make([]byte, most)
	n, err := c.volumes.Read("rbd_id."+name, raw, 0)
	if err != nil {
		return "", err
	}
	if n < 4 || int(binary.LittleEndian.Uint32(raw)) != n-4 {
		return "", fmt.Errorf("the object rbd_id.%s has %d bytes of unexpected content", name, n)
	}
	return string(raw[4:n]), nil
}
