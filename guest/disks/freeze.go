// SPDX-License-Identifier: Apache-2.0

//go:build linux

package disks

import (
	"errors"
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

// thawRetry is after how long the guest retries to thaw a file system.
const thawRetry = time.Second

// Frozen are the file systems that are frozen, by the serials of their disks. Each thaws by itself after guest.FreezeLimit, so that the pod
// continues if its agent or the server ends meanwhile.
type Frozen struct {
	mu  sync.Mutex // of the map only: a disk that does not answer keeps no other volume frozen
	all map[string]*frozen
}

// frozen is a file system that is frozen, or is about to be.
type frozen struct {
	mu    sync.Mutex
	dir   *os.File // its root: nothing has to be opened to thaw it
	timer *time.Timer
}

var errNotFrozen = &guest.CallError{Code: guest.CodeConflict, Message: "the file system is not frozen any more"}

// Freeze writes everything to the disk of a volume, and lets programs that write to the volume wait until Thaw.
func (f *Frozen) Freeze(v Volume) error {
	dir, err := v.open()
	if err != nil {
		return err
	}
	this := &frozen{dir: dir}
	this.mu.Lock()
	defer this.mu.Unlock()
	if !f.add(v.Serial, this) {
		return errors.Join(&guest.CallError{Code: guest.CodeConflict, Message: "the file system is frozen already"}, dir.Close())
	}
	if err = unix.Syncfs(int(dir.Fd())); err == nil { // first, so that programs do not wait for it
		err = ioctl(dir, fiFreeze)
	}
	if err != nil {
		f.remove(v.Serial)
		return errors.Join(fmt.Errorf("volume %s: freeze the file system: %w", v.Name, err), dir.Close())
	}
	this.timer = time.AfterFunc(guest.FreezeLimit, func() {
		if err := f.end(v.Serial, this); err != nil && !errors.Is(err, errNotFrozen) {
			this.timer.Reset(thawRetry)
		}
	})
	return nil
}

// Thaw fails if the file system is not frozen any more.
func (f *Frozen) Thaw(v Volume) error {
	f.mu.Lock()
	this := f.all[v.Serial]
	f.mu.Unlock()
	if this == nil {
		return errNotFrozen
	}
	if err := f.end(v.Serial, this); err != nil {
		return fmt.Errorf("volume %s: thaw the file system: %w", v.Name, err)
	}
	return nil
}

// end thaws a file system. If that fails, its timer continues.
func (f *Frozen) end(serial string, this *frozen) error {
	this.mu.Lock()
	defer this.mu.Unlock()
	if this.dir == nil {
		return errNotFrozen
	}
	err := ioctl(this.dir, fiThaw)
	if errors.Is(err, unix.EINVAL) { // a program of the pod has thawed it
		err = errNotFrozen
	}
	if err == nil || errors.Is(err, errNotFrozen) {
		this.timer.Stop()
		f.remove(serial)
		err = errors.Join(err, this.dir.Close())
		this.dir = nil
	}
	return err
}

func (f *Frozen) add(serial string, this *frozen) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all[serial] != nil {
		return false
	}
	if f.all == nil {
		f.all = map[string]*frozen{}
	}
	f.all[serial] = this
	return true
}

func (f *Frozen) remove(serial string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, serial)
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

func ioctl(f *os.File, number uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), number, 0); errno != 0 {
		return errno
	}
	return nil
}
