// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

// Key is the cephx user that the QEMU of one placement authenticates as.
type Key struct {
	User   string // without "client."
	Secret string // base64
}

// Access is a disk that a pod attaches, and whether it may write the data.
type Access struct {
	Disk  Disk
	Write bool
}

const (
	podKeyPrefix = "husk-pod."

	// keyIndex is an object whose omap contains the holders of keys. Ceph could list its users itself,
	// but only together with all secrets, including the administrator's. A server of the previous
	// version removes keys in it that are not named after a pod alone, so those of placements are in
	// an index of their own.
	keyIndex          = "husk-pod-keys"
	placementKeyIndex = "husk-placement-keys"
)

// User returns the cephx user of a key's holder, without "client.".
func User(holder string) string { return podKeyPrefix + holder }

// validHolder is a pod's id, with the number of a placement (husk.KeyHolder), or the holder of a removal.
var validHolder = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,95}(\.[0-9]{1,19})?$`)

func checkHolder(holder string) error {
	if !validHolder.MatchString(holder) {
		return fmt.Errorf("holder of a key %q: want lower case letters, digits and dashes, and the number of a placement", holder)
	}
	return nil
}

// indexOf returns the index that a holder is in.
func indexOf(holder string) string {
	if strings.Contains(holder, ".") {
		return placementKeyIndex
	}
	return keyIndex
}

// podCaps gives a key access to the objects of exactly these disks, and read access to the imports
// that they are clones of. Another tenant's imports are as inaccessible as its volumes. QEMU opens
// even a read-only disk with a watch on its header, which needs "w" there; the data of a read-only
// disk has "rx". For an import, librbd needs its header, its data and its object map, and looks up
// its name by its id in the directory.
func (c *Cluster) podCaps(disks []Access, parents []string) string {
	var caps []string
	allow := func(pool, rights, prefix string) {
		caps = append(caps, fmt.Sprintf("allow %s pool=%s namespace=\"\" object_prefix %s", rights, pool, prefix))
	}
	// A key that may write anything in a pool that its rights name may also remove every snapshot of the pool (is_unmanaged_snap_op_permitted in
	// Ceph's OSDMonitor.cc), also those of other tenants. So rights to write name no pool. The IDs in the prefixes are unambiguous in both pools.
	write := func(prefix string) {
		caps = append(caps, fmt.Sprintf("allow rwx namespace=\"\" object_prefix %s", prefix))
	}
	if len(parents) > 0 {
		allow(c.cfg.ImagesPool, "class rbd dir_get_name", "rbd_directory") // permits looking up the name of a known id, but not listing ids
	}
	for _, id := range parents {
		allow(c.cfg.ImagesPool, "rx", "rbd_header."+id)
		allow(c.cfg.ImagesPool, "rx", "rbd_data."+id+".")
		allow(c.cfg.ImagesPool, "rx", "rbd_object_map."+id)
	}
	sorted := slices.Clone(disks)
	slices.SortFunc(sorted, func(a, b Access) int { return strings.Compare(a.Disk.ID, b.Disk.ID) })
	for _, a := range sorted {
		allow(a.Disk.Pool, "rx", "rbd_id."+a.Disk.Name)
		write("rbd_header." + a.Disk.ID)
		for _, prefix := range []string{"rbd_data." + a.Disk.ID + ".", "rbd_object_map." + a.Disk.ID} {
			if a.Write {
				write(prefix)
			} else {
				allow(a.Disk.Pool, "rx", prefix)
			}
		}
	}
	allow(c.cfg.VolumesPool, "rx", "rbd_info")
	allow(c.cfg.ImagesPool, "rx", "rbd_info")
	return strings.Join(caps, ", ")
}

// importID returns RBD's ID of an import. No pod can write an import's header.
func (c *Cluster) importID(digest string) (string, error) {
	name, err := imageName(digest)
	if err != nil {
		return "", err
	}
	img, err := rbd.OpenImageReadOnly(c.images, name, "")
	if err != nil {
		return "", fmt.Errorf("import %s: %w", digest, err)
	}
	id, err := img.GetId()
	return id, errors.Join(err, img.Close())
}

// CreateKey creates a placement's key, or changes its access. The same call again returns the same
// key. It returns the names of disks whose header a pod had changed. It has restored these headers,
// so that neither the next pod nor the server believes them.
func (c *Cluster) CreateKey(ctx context.Context, holder string, disks []Access) (key Key, tampered []string, _ error) {
	if err := checkHolder(holder); err != nil {
		return Key{}, nil, err
	}
	for _, d := range disks {
		changed, err := c.restoreHeader(d.Disk.ID, d.Disk.Header, d.Disk.Marked)
		if err != nil {
			return Key{}, nil, err
		}
		if changed {
			tampered = append(tampered, d.Disk.Name)
		}
	}
	parents, err := c.parentsOf(disks)
	if err != nil {
		return Key{}, nil, fmt.Errorf("key of %s: %w", holder, err)
	}
	key, err = c.createKey(ctx, holder, c.podCaps(disks, parents))
	return key, tampered, err
}

// parentsOf returns RBD's IDs of the imports and the snapshots that disks are clones of.
func (c *Cluster) parentsOf(disks []Access) ([]string, error) {
	var parents []string
	for _, d := range disks {
		id := d.Disk.ParentID
		if d.Disk.Digest != "" {
			var err error
			if id, err = c.importID(d.Disk.Digest); err != nil {
				return nil, err
			}
		}
		if id != "" && !slices.Contains(parents, id) { // most volumes have no parent
			parents = append(parents, id)
		}
	}
	slices.Sort(parents)
	return parents, nil
}

// createKey creates or changes a key and returns it.
func (c *Cluster) createKey(ctx context.Context, holder, osdCaps string) (Key, error) {
	if err := ctx.Err(); err != nil {
		return Key{}, err
	}
	// Add it to the index first, because a key that is not in the index would never be removed.
	if err := c.volumes.SetOmap(indexOf(holder), map[string][]byte{holder: nil}); err != nil {
		return Key{}, fmt.Errorf("index key of %s: %w", holder, err)
	}
	if err := c.step(ctx, "indexed"); err != nil {
		return Key{}, err
	}
	user := User(holder)
	caps := []string{"mon", "allow r", "osd", osdCaps}
	out, err := c.monCommand(map[string]any{"prefix": "auth get-or-create", "entity": "client." + user, "caps": caps})
	if hasErrno(err, einval) { // exists with other caps
		if _, err := c.monCommand(map[string]any{"prefix": "auth caps", "entity": "client." + user, "caps": caps}); err != nil {
			return Key{}, fmt.Errorf("caps of %s: %w", holder, err)
		}
		out, err = c.monCommand(map[string]any{"prefix": "auth get", "entity": "client." + user})
	}
	if err != nil {
		return Key{}, fmt.Errorf("key of %s: %w", holder, err)
	}
	var entities []struct{ Key string }
	if err := json.Unmarshal(out, &entities); err != nil || len(entities) != 1 || entities[0].Key == "" {
		return Key{}, errors.Join(fmt.Errorf("key of %s: unexpected response", holder), err)
	}
	return Key{User: user, Secret: entities[0].Key}, nil
}

// RemoveKey removes a holder's key, if there is one. Clients that are connected with it keep their
// tickets until these expire, within an hour: end or fence them first.
func (c *Cluster) RemoveKey(ctx context.Context, holder string) error {
	if err := checkHolder(holder); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := c.monCommand(map[string]any{"prefix": "auth del", "entity": "client." + User(holder)})
	if err != nil && !notFound(err) {
		return fmt.Errorf("remove key of %s: %w", holder, err)
	}
	if err := c.step(ctx, "deleted"); err != nil {
		return err
	}
	if err := c.volumes.RmOmapKeys(indexOf(holder), []string{holder}); err != nil && !notFound(err) {
		return fmt.Errorf("unindex key of %s: %w", holder, err)
	}
	return nil
}

// KeysOf returns the holders of the pod's keys: of all of its placements that have one.
func (c *Cluster) KeysOf(ctx context.Context, podID string) ([]string, error) {
	return c.listKeys(ctx, podID)
}

// ListKeys returns the holders of all keys.
func (c *Cluster) ListKeys(ctx context.Context) ([]string, error) { return c.listKeys(ctx, "") }

func (c *Cluster) listKeys(ctx context.Context, prefix string) ([]string, error) {
	const page = 1000
	var holders []string
	for _, index := range []string{keyIndex, placementKeyIndex} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		all, err := c.volumes.GetAllOmapValues(index, "", prefix, page)
		if err != nil && !errors.Is(err, rados.ErrNotFound) {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		holders = slices.AppendSeq(holders, maps.Keys(all))
	}
	slices.Sort(holders)
	return holders, nil
}

// monCommand sends one command to the mon and returns its JSON.
func (c *Cluster) monCommand(command map[string]any) ([]byte, error) {
	command["format"] = "json"
	data, err := json.Marshal(command)
	if err != nil {
		return nil, err
	}
	out, status, err := c.conn.MonCommand(data)
	if err != nil && status != "" {
		err = fmt.Errorf("%w: %s", err, status)
	}
	return out, err
}
