// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ceph/go-ceph/rbd"

	"husk/luks"
)

// encrypt writes the header of LUKS to a new disk, and returns what encrypts its content. Without a passphrase, it does nothing.
func (c *Cluster) encrypt(id, passphrase string) (_ *luks.Disk, err error) {
	if passphrase == "" {
		return nil, nil
	}
	disk, header, err := luks.New(passphrase)
	if err != nil {
		return nil, err
	}
	img, err := rbd.OpenImageById(c.volumes, id, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if _, err := img.WriteAt(header, 0); err != nil {
		return nil, fmt.Errorf("write the header of %s: %w", id, err)
	}
	return disk, img.Flush()
}

// writeXFSLog writes the zeros in the log of a new XFS as data. mkfs.xfs leaves them as a hole of the file, and a hole of an encrypted disk does not read
// as zeros, which XFS needs there. ext4 marks what it has not initialized.
func writeXFSLog(file *os.File) error {
	super := make([]byte, 512)
	if _, err := file.ReadAt(super, 0); err != nil {
		return err
	}
	if string(super[:4]) != "XFSB" {
		return nil
	}
	// Offsets of xfs_sb: sb_blocksize, sb_logstart, sb_agblocks, sb_logblocks, sb_agblklog.
	block, agBlocks, logBlocks := int64(binary.BigEndian.Uint32(super[4:])), int64(binary.BigEndian.Uint32(super[84:])), int64(binary.BigEndian.Uint32(super[96:]))
	start := int64(binary.BigEndian.Uint64(super[48:])) //nolint:gosec // mkfs.xfs has written it
	group, inGroup := start>>super[124], start&(1<<super[124]-1)
	buf := make([]byte, 1<<20)
	begin := (group*agBlocks + inGroup) * block
	for at, end := begin, begin+logBlocks*block; at < end; {
		n := min(int64(len(buf)), end-at)
		if _, err := file.ReadAt(buf[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := file.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += n
	}
	return nil
}
