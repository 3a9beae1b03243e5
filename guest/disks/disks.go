// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package disks finds the virtio disks of a machine, mounts images and volumes, and opens volumes without a file system.
package disks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/become"
)

const (
	// Wait is how long a device of the spec may take to appear.
	Wait = 30 * time.Second
	// unmountWait is how long the kernel may take to release a volume after its last user has gone.
	unmountWait = 10 * time.Second
)

// Find waits for the virtio disk with this serial and returns its name in /dev.
func Find(ctx context.Context, serial string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Wait)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		disks, _ := filepath.Glob("/sys/block/vd*/serial")
		for _, d := range disks {
			b, err := os.ReadFile(d)
			if err == nil && strings.TrimRight(string(b), "\x00\n") == serial {
				return filepath.Base(filepath.Dir(d)), nil
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", fmt.Errorf("disk %s: not attached", serial)
		}
	}
}

// MountImage mounts the image on the disk with this serial.
func MountImage(ctx context.Context, serial, target string) error {
	dev, err := Find(ctx, serial)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/"+dev, target, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("image: mount disk %s: %w", serial, err)
	}
	return nil
}

// Volume is a volume in use, which must be unmounted before the machine powers off.
type Volume struct {
	Name, Serial string
	dev, fsType  string
	readOnly     bool
}

func (v Volume) target() string { return filepath.Join(become.VolumesDir, v.Name) }

// Covers is what Mount needs for disks that cannot be written, and whose file system was not unmounted.
type Covers struct {
	Dir  string // for what is written
	Load func() // loads the kernel's modules
}

// Mount mounts a volume. A file system that was not unmounted recovers from its journal. If the disk cannot be written, the recovered blocks are
// in a layer that only this machine has.
func Mount(ctx context.Context, v guest.Volume, c Covers) (Volume, error) {
	dev, err := Find(ctx, v.Serial)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	mounted := Volume{Name: v.Name, Serial: v.Serial, dev: dev, fsType: v.FSType, readOnly: v.ReadOnly}
	target := mounted.target()
	if err := os.MkdirAll(target, 0o755); err != nil {
		return Volume{}, err
	}
	flags, data := uintptr(unix.MS_NODEV), "errors=remount-ro"
	if v.FSType == guest.XFSType {
		data = "nouuid" // a volume that was made from a snapshot has the UUID of the original, which the pod may have, too
	}
	if v.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	err = unix.Mount("/dev/"+dev, target, v.FSType, flags, data)
	if v.ReadOnly && errors.Is(err, unix.EROFS) { // it has to recover
		c.Load()
		if mounted.dev, err = cover(dev, c.Dir); err == nil {
			err = unix.Mount("/dev/"+mounted.dev, target, v.FSType, flags, data)
		}
	}
	if err != nil {
		return Volume{}, fmt.Errorf("volume %s: mount: %w", v.Name, err)
	}
	if v.ReadOnly {
		return mounted, nil
	}
	// mke2fs makes it for fsck, which can make it again. Programs such as PostgreSQL refuse a
	// directory that is not empty.
	os.Remove(filepath.Join(target, "lost+found")) // fails if there is something in it
	if err := mounted.Grow(ctx, 0); err != nil {   // the volume may have grown meanwhile
		return Volume{}, errors.Join(err, mounted.Unmount())
	}
	return mounted, nil
}

// Open gives the disk of a volume without a file system to a group, or to root alone.
func Open(ctx context.Context, v guest.Volume, group *uint32) (Volume, error) {
	dev, err := Find(ctx, v.Serial)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if group != nil {
		node := filepath.Join("/dev", dev)
		if err := errors.Join(os.Chown(node, 0, int(*group)), os.Chmod(node, 0o660)); err != nil {
			return Volume{}, fmt.Errorf("volume %s: give it to group %d: %w", v.Name, *group, err)
		}
	}
	return Volume{Name: v.Name, Serial: v.Serial, dev: dev, fsType: v.FSType, readOnly: v.ReadOnly}, nil
}

// Device returns the name of the disk in /dev.
func (v Volume) Device() string { return v.dev }

// flush writes what the kernel still has of a disk.
func (v Volume) flush() error {
	f, err := os.Open(filepath.Join("/dev", v.dev))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		err = fmt.Errorf("volume %s: write it back: %w", v.Name, err)
	}
	return err
}

// Unmount detaches the volume and waits until its file system is closed. That takes longer while a
// mount namespace is still being destroyed.
func (v Volume) Unmount() error {
	if v.fsType == guest.BlockType {
		return v.flush()
	}
	target := v.target()
	deadline := time.Now().Add(unmountWait)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Unmount(target, 0)
		if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: already unmounted
			if _, err = os.Stat(filepath.Join("/sys/fs", v.fsType, v.dev)); errors.Is(err, os.ErrNotExist) {
				return nil
			}
			err = unix.EBUSY
		}
		if time.Now().After(deadline) {
			unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
			return fmt.Errorf("volume %s: unmount: %w", v.Name, err)
		}
		time.Sleep(wait)
	}
}
