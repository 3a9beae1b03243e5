// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"
)

// ScratchSerial is the serial of the scratch disk.
const ScratchSerial = "scratch"

// scratchFeatures are the features of a scratch disk's ext4. It is new for every start of a machine, so it needs no journal. Quotas of projects
// limit the empty directories in it.
const scratchFeatures = "^has_journal,^resize_inode,^metadata_csum,uninit_bg,quota,project"

// scratchFile returns the file with the scratch disk of a pod.
func scratchFile(dir string, pod uuid.UUID) string { return filepath.Join(dir, pod.String()+".ext4") }

// makeScratch makes the scratch disk of a machine: a sparse file, so that nothing of an earlier machine can be read from it. It takes about 15 ms
// and 1 MiB. Only the machine's user can open it. A host never mounts a file system that a tenant can write to.
func makeScratch(ctx context.Context, dir string, spec Spec, user uint32) error {
	if err := emptyScratch(dir, spec, 0); err != nil {
		return err
	}
	name := scratchFile(dir, spec.PodID)
	mkfs := exec.CommandContext(ctx, "/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-O", scratchFeatures, //nolint:gosec // the path is ours
		"-E", "discard,quotatype=prjquota,root_owner=0:0", name)
	if out, err := mkfs.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return os.Chown(name, int(user), int(user))
}

// emptyScratch makes the file of a scratch disk, without a file system.
func emptyScratch(dir string, spec Spec, user uint32) error {
	const passOnly = 0o711
	if err := os.MkdirAll(dir, passOnly); err != nil {
		return err
	}
	name := scratchFile(dir, spec.PodID)
	if err := removeScratch(dir, spec.PodID); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the path is ours
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written with it
	if err := f.Truncate(int64(spec.ScratchGiB) << 30); err != nil {
		return err
	}
	return f.Chown(int(user), int(user))
}

func removeScratch(dir string, pod uuid.UUID) error {
	if err := os.Remove(scratchFile(dir, pod)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// scratchReserve is the share of a file system that scratch disks do not get.
const scratchReserve = 0.1

// ScratchCapacityGiB returns how much scratch disks in the directory can have together: what is free, and what they have already, without a
// reserve.
func ScratchCapacityGiB(dir string) (int, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // the users of machines pass through it
		return 0, err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	block := uint64(st.Bsize) //nolint:gosec // positive
	free := st.Bavail * block
	files, err := filepath.Glob(filepath.Join(dir, "*.ext4"))
	if err != nil {
		return 0, err
	}
	const sector = 512
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				free += uint64(st.Blocks) * sector //nolint:gosec // positive
			}
		}
	}
	reserve := uint64(float64(st.Blocks*block) * scratchReserve)
	return int((free - min(free, reserve)) >> 30), nil //nolint:gosec // GiB of a disk
}
