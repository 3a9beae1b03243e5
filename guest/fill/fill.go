// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package fill gives a fresh volume what the image has at its mount point: owner, mode and content, as
// Docker does it.
package fill

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mark is an attribute of a volume's root. Containers cannot change it. A volume without it that is
// empty is fresh.
const mark = "trusted.husk.filled"

// The values of mark.
const (
	begun = "begun" // the content may be incomplete
	done  = "done"
)

// lostFound is a directory that mke2fs makes.
const lostFound = "lost+found"

// partial is the name of a file that is being copied.
const partial = ".husk-copy"

// Fresh fills the volume mounted at target from the directory source, if the volume is fresh. If an
// earlier call did not come to its end, Fresh adds what is missing. It deletes nothing. Several containers may call it at once. It
// returns true if it has filled the volume.
func Fresh(target, source string) (bool, error) {
	volume, err := os.Open(target)
	if err != nil {
		return false, err
	}
	defer volume.Close()
	state, err := stateOf(volume)
	if err != nil || state == done {
		return false, err
	}
	if err := lock(volume); err != nil {
		return false, err
	}
	if state, err = stateOf(volume); err != nil || state == done {
		return false, err
	}
	to, err := os.OpenRoot(target)
	if err != nil {
		return false, err
	}
	defer to.Close()
	names, err := volume.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if state != begun && name != lostFound {
			return false, unix.Fsetxattr(int(volume.Fd()), mark, []byte(done), 0) // not fresh, so it need not be read again
		}
	}
	if info, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return false, nil // the image has nothing there
	}
	from, err := os.OpenRoot(source)
	if err != nil {
		return false, err
	}
	defer from.Close()
	if err := unix.Fsetxattr(int(volume.Fd()), mark, []byte(begun), 0); err != nil {
		return false, fmt.Errorf("mark the volume: %w", err)
	}
	if err := copyTree(from, to); err != nil {
		return false, err
	}
	// The content has to be on the disk before the mark that says so.
	if err := unix.Syncfs(int(volume.Fd())); err != nil {
		return false, err
	}
	return true, unix.Fsetxattr(int(volume.Fd()), mark, []byte(done), 0)
}

// lockTime is how long another container may hold the lock of a volume that is not filled yet.
const lockTime = 30 * time.Second

// lock locks a volume until its file is closed. Containers of the pod can lock it too.
func lock(volume *os.File) error {
	for deadline := time.Now().Add(lockTime); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Flock(int(volume.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

func stateOf(volume *os.File) (string, error) {
	value := make([]byte, 16)
	n, err := unix.Fgetxattr(int(volume.Fd()), mark, value)
	switch {
	case errors.Is(err, unix.ENODATA):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read the mark of the volume: %w", err)
	}
	return string(value[:n]), nil
}

// copyTree copies directories, files and symbolic links with owners, modes, times and attributes.
// Other kinds of files are left out.
func copyTree(from, to *os.Root) error {
	return fs.WalkDir(from.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := from.Lstat(name)
		if err != nil {
			return err
		}
		if err := copyEntry(from, to, name, info); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		return nil
	})
}

func copyEntry(from, to *os.Root, name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the owner is not known")
	}
	switch info.Mode().Type() {
	case 0:
		if _, err := to.Lstat(name); err == nil {
			return nil
		}
		at := path.Join(path.Dir(name), partial)
		if err := copyFile(from, to, name, at); err != nil {
			return err
		}
		if err := copyMeta(from, to, name, at, info, st); err != nil {
			return err
		}
		return to.Rename(at, name)
	case fs.ModeDir:
		if err := to.Mkdir(name, 0o700); name != "." && err != nil {
			if errors.Is(err, fs.ErrExist) {
				return nil
			}
			return err
		}
	case fs.ModeSymlink:
		target, err := from.Readlink(name)
		if err != nil {
			return err
		}
		if err := to.Symlink(target, name); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return nil
			}
			return err
		}
		return to.Lchown(name, int(st.Uid), int(st.Gid))
	default:
		return nil
	}
	return copyMeta(from, to, name, name, info, st)
}

// copyMeta gives the copy of a file or directory its owner, attributes, mode and time.
func copyMeta(from, to *os.Root, source, name string, info fs.FileInfo, st *syscall.Stat_t) error {
	if err := to.Lchown(name, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyAttributes(from, to, source, name); err != nil {
		return err
	}
	if err := to.Chmod(name, info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return to.Chtimes(name, info.ModTime(), info.ModTime())
}

func copyFile(from, to *os.Root, name, target string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyAttributes copies the extended attributes of a file or directory. overlayfs has attributes of
// its own, which are not part of the image.
func copyAttributes(from, to *os.Root, source, name string) error {
	in, err := from.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(in.Fd()), list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 { // an image without any attributes
		return nil
	}
	if err != nil {
		return err
	}
	out, err := to.Open(name)
	if err != nil {
		return err
	}
	defer out.Close()
	value := make([]byte, 64<<10)
	for attribute := range strings.SplitSeq(strings.Trim(string(list[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(attribute, "trusted.") {
			continue
		}
		n, err := unix.Fgetxattr(int(in.Fd()), attribute, value)
		if err != nil {
			return err
		}
		if err := unix.Fsetxattr(int(out.Fd()), attribute, value[:n], 0); err != nil {
			return err
		}
	}
	return nil
}

// Group gives the volume mounted at target to a group: the group can read and write everything in it, and
// what is created later belongs to the group too. If the root already belongs to the group in this
// way, nothing is done, so that a large volume does not delay every start.
func Group(target string, gid int) error {
	var root unix.Stat_t
	if err := unix.Stat(target, &root); err != nil {
		return err
	}
	const wanted = unix.S_ISGID | unix.S_IRWXG
	if int(root.Gid) == gid && root.Mode&wanted == wanted {
		return nil
	}
	volume, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer volume.Close()
	// The root comes last: it says that everything is done.
	if err := fs.WalkDir(volume.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return giveToGroup(volume, name, gid)
	}); err != nil {
		return err
	}
	return giveToGroup(volume, ".", gid)
}

func giveToGroup(volume *os.Root, name string, gid int) error {
	info, err := volume.Lstat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", path.Base(name), err)
	}
	if err := volume.Lchown(name, -1, gid); err != nil {
		return err
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		mode |= 0o070 | fs.ModeSetgid
	case mode.IsRegular():
		mode |= 0o060
		if mode&0o100 != 0 {
			mode |= 0o010
		}
	default:
		return nil
	}
	return volume.Chmod(name, mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky))
}
