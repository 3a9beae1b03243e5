// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package files writes files of a pod's spec into its guest.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// The names in a volume of files. All files are in a directory of their own, to which dataLink points.
// Names in the volume point into dataLink, so one rename replaces all files at once. Kubernetes has
// the same layout (pkg/volume/util/atomic_writer.go), and programs that watch for changes know it.
const (
	dataLink  = "..data"
	newLink   = "..new"
	dirPrefix = "..v-"
)

// filesSize limits a volume of files: old and new files together, and what the file system needs.
const filesSize = "size=4m,nr_inodes=2048,mode=0755"

// Mount makes a volume of files in memory. Programs in it can be executed: people keep scripts in
// configs.
func Mount(target string, v guest.Volume) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("files", target, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, filesSize); err != nil {
		return fmt.Errorf("volume %s: mount: %w", v.Name, err)
	}
	if err := Replace(target, v.Files); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}

// Replace replaces all files of a volume at once. Readers see all old files or all new ones.
// Containers cannot write to the volume, so its links are our own.
func Replace(volume string, files []guest.File) error {
	old, err := os.Readlink(filepath.Join(volume, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now, err := os.MkdirTemp(volume, dirPrefix)
	if err != nil {
		return err
	}
	defer func() { // of a failed attempt, or the old one
		entries, _ := os.ReadDir(volume)
		current, _ := os.Readlink(filepath.Join(volume, dataLink))
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), dirPrefix) && e.Name() != current {
				os.RemoveAll(filepath.Join(volume, e.Name()))
			}
		}
	}()
	if err := os.Chmod(now, 0o755); err != nil { //nolint:gosec // users of the container read it
		return err
	}
	var names []string
	for _, f := range files {
		top, _, _ := strings.Cut(f.Path, "/")
		if !slices.Contains(names, top) {
			names = append(names, top)
		}
		f.Path = filepath.Join(now, f.Path)
		if err := Write(f); err != nil {
			return err
		}
	}
	link := filepath.Join(volume, newLink)
	if err := errors.Join(ignoreMissing(os.Remove(link)), os.Symlink(filepath.Base(now), link)); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(volume, dataLink)); err != nil {
		return err
	}
	return showNames(volume, names, old != "")
}

// showNames makes the links to the files that have these names, and removes those to files that are
// gone.
func showNames(volume string, names []string, again bool) error {
	for _, name := range names {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(volume, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if !again {
		return nil
	}
	entries, err := os.ReadDir(volume)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") && !slices.Contains(names, e.Name()) {
			if err := os.Remove(filepath.Join(volume, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Write writes a file, and the directories above it. It replaces a regular file.
func Write(f guest.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o600) // the image may have a pipe there
	if err != nil {
		return err
	}
	defer out.Close()
	if info, err := out.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("exists and is not a regular file"))
	}
	if _, err := out.Write(f.Content); err != nil {
		return err
	}
	if err := out.Chown(int(f.UID), int(f.GID)); err != nil {
		return err
	}
	return unix.Fchmod(int(out.Fd()), f.Mode)
}
