// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

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
	// diskWait is how long a disk of the spec may take to appear.
	diskWait = 30 * time.Second
	// unmountWait is how long the kernel may take to release a volume after its last user has gone.
	unmountWait = 10 * time.Second
)

// findDisk waits for the virtio disk with this serial and returns its name in /dev.
func findDisk(ctx context.Context, serial string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
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

func mountImage(ctx context.Context, serial string) error {
	dev, err := findDisk(ctx, serial)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	target := filepath.Join(imagesDir, serial)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/"+dev, target, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("image: mount disk %s: %w", serial, err)
	}
	return nil
}

// mountedVolume is a volume that must be unmounted before the machine powers off.
type mountedVolume struct{ name, dev string }

// mountVolume mounts a volume. A file system that was not unmounted recovers from its journal,
// unless it is attached read-only: then the journal cannot be written back.
func mountVolume(ctx context.Context, v guest.Volume) (mountedVolume, error) {
	dev, err := findDisk(ctx, v.Serial)
	if err != nil {
		return mountedVolume{}, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	target := filepath.Join(become.VolumesDir, v.Name)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return mountedVolume{}, err
	}
	flags, data := uintptr(unix.MS_NODEV), "errors=remount-ro"
	if v.ReadOnly {
		flags, data = flags|unix.MS_RDONLY, "noload"
	}
	if err := unix.Mount("/dev/"+dev, target, v.FSType, flags, data); err != nil {
		return mountedVolume{}, fmt.Errorf("volume %s: mount: %w", v.Name, err)
	}
	return mountedVolume{name: v.Name, dev: dev}, nil
}

// unmount detaches the volume and waits until its file system is closed. That takes longer while a
// mount namespace is still being destroyed.
func (v mountedVolume) unmount() error {
	target := filepath.Join(become.VolumesDir, v.name)
	deadline := time.Now().Add(unmountWait)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := unix.Unmount(target, 0)
		if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: already unmounted
			if _, err = os.Stat("/sys/fs/ext4/" + v.dev); errors.Is(err, os.ErrNotExist) {
				return nil
			}
			err = unix.EBUSY
		}
		if time.Now().After(deadline) {
			unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
			return fmt.Errorf("volume %s: unmount: %w", v.name, err)
		}
		time.Sleep(wait)
	}
}
