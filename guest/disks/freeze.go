// SPDX-License-Identifier: Apache-2.0

//go:build linux

package disks

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// The numbers of Linux' include/uapi/linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// Frozen are the file systems that are frozen, by the serials of their disks. Each thaws by itself after guest.FreezeLimit, so that the pod
// continues if its agent or the server ends meanwhile.
type Frozen struct {
	mu     sync.Mutex
	timers map[string]*time.Timer
}

// Freeze freezes the file system of a volume.
func (f *Frozen) Freeze(v Volume) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timers[v.Serial] != nil {
		return &guest.CallError{Code: guest.CodeConflict, Message: "the file system is frozen already"}
	}
	if err := v.freeze(); err != nil {
		return err
	}
	if f.timers == nil {
		f.timers = map[string]*time.Timer{}
	}
	f.timers[v.Serial] = time.AfterFunc(guest.FreezeLimit, func() { _ = f.Thaw(v) }) //nolint:errcheck // it fails if it is not frozen any more
	return nil
}

// Thaw fails if the file system has thawed by itself.
func (f *Frozen) Thaw(v Volume) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.timers[v.Serial]
	if t == nil {
		return &guest.CallError{Code: guest.CodeConflict, Message: "the file system is not frozen any more"}
	}
	t.Stop()
	delete(f.timers, v.Serial)
	return v.thaw()
}

// freeze writes everything to the disk, and lets programs that write to the volume wait until thaw.
func (v Volume) freeze() error {
	dir, err := v.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil { // first, so that programs do not wait for it
		return fmt.Errorf("volume %s: write it back: %w", v.Name, err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fiFreeze, 0); errno != 0 {
		return fmt.Errorf("volume %s: freeze the file system: %w", v.Name, errno)
	}
	return nil
}

// thaw ends what freeze has begun. It fails if the file system is not frozen.
func (v Volume) thaw() error {
	dir, err := v.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fiThaw, 0); errno != 0 {
		return fmt.Errorf("volume %s: thaw the file system: %w", v.Name, errno)
	}
	return nil
}

func (v Volume) open() (*os.File, error) {
	if v.fsType == guest.BlockType || v.readOnly {
		return nil, &guest.CallError{Code: guest.CodeInvalid, Message: "volume " + v.Name + " has no file system that is written to"}
	}
	dir, err := os.Open(v.target())
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return dir, nil
}
