// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/files"
	"husk/guest/fill"
)

// buildRoot assembles the container's root file system in this process's own mount namespace and
// makes it the root. It uses the tenant's paths only after that, when no symbolic link can lead out
// of it.
func buildRoot(config *Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	volumes, err := openVolumes(config)
	if err != nil {
		return err
	}
	blocks, err := openDevices(config)
	if err != nil {
		return err
	}
	message, err := openMessage(config.Message)
	if err != nil {
		return err
	}
	shm, err := openShm()
	if err != nil {
		return err
	}
	devices, err := devicesOf(config.Container)
	if err != nil {
		return err
	}
	contents, err := openContents(config)
	if err != nil {
		return err
	}
	if err := mountOverlay(config.Image, config.Scratch); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	if err := pivot(RootDir); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	// The image may contain symbolic links with these names, to files that exist on the machine on
	// which it was built.
	for _, f := range config.Etc {
		os.Remove(f.Path)
	}
	// Before anything is mounted: a file is written to the container's own layer, and not to a
	// volume or the kernel's file systems.
	for _, f := range append(config.Etc, config.Container.Files...) {
		if err := files.Write(f); err != nil {
			return &StartError{126, fmt.Sprintf("file %s: %v", f.Path, err)}
		}
	}
	overlaid, err := openOverlaid(config)
	if err != nil {
		return err
	}
	if err := mountSystem(config.Container.Privileged, devices, shm); err != nil {
		return err
	}
	if !config.Container.Privileged {
		if err := hideKernel(); err != nil {
			return err
		}
	}
	for _, i := range byDepth(config.Container.Mounts) {
		m := config.Container.Mounts[i]
		err := volumes[i].attach(m.Path)
		if err == nil && contents[i] != nil {
			err = fillVolume(config, m.Path, contents[i])
		}
		if err != nil {
			return &StartError{126, fmt.Sprintf("mount %s: %v", m.Path, err)}
		}
	}
	for i, d := range config.Container.VolumeDevices {
		if err := blocks[i].attach(d.DevicePath); err != nil {
			return &StartError{126, fmt.Sprintf("device %s: %v", d.DevicePath, err)}
		}
	}
	if message != nil {
		if err := message.attach(config.Container.TerminationMessagePath); err != nil {
			return &StartError{126, fmt.Sprintf("termination message %s: %v", config.Container.TerminationMessagePath, err)}
		}
	}
	if config.Container.ReadOnlyRoot {
		if err := unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
			return fmt.Errorf("make the root file system read-only: %w", err)
		}
	}
	for _, f := range overlaid {
		if err := f.attach(f.path); err != nil {
			return &StartError{126, fmt.Sprintf("file %s, which is in a volume: %v", f.path, err)}
		}
	}
	return nil
}

// overlaidFile is a file in the container's own layer that is laid over a volume.
type overlaidFile struct {
	tree
	path string
}

// byDepth returns the positions of the mounts, those of outer paths first: a later mount would hide
// one below its path.
func byDepth(mounts []guest.Mount) []int {
	order := make([]int, len(mounts))
	for i := range order {
		order[i] = i
	}
	depth := func(i int) int { return strings.Count(path.Clean(mounts[i].Path), "/") }
	slices.SortStableFunc(order, func(a, b int) int { return depth(a) - depth(b) })
	return order
}

// openContents opens the directories of the image, without the pod's files, from which the mounted
// volumes will be filled if they are fresh. An element is nil if the image has none there, or if the
// mount is read-only, only a part of a volume, or a directory that is always empty at first.
func openContents(config *Config) ([]*os.File, error) {
	contents := make([]*os.File, len(config.Container.Mounts))
	image, err := unix.Open(config.Image, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	defer unix.Close(image)
	for i, m := range config.Container.Mounts {
		if m.SubPath != "" || m.ReadOnly || !config.Kept[m.Volume] {
			continue
		}
		fd, err := unix.Openat2(image, path.Clean("/"+m.Path), &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err == nil {
			contents[i] = os.NewFile(uintptr(fd), m.Path)
		}
	}
	return contents, nil
}

func fillVolume(config *Config, target string, content *os.File) error {
	defer content.Close()
	filled, err := fill.Fresh(target, fmt.Sprintf("/proc/self/fd/%d", content.Fd()))
	if err == nil && filled && config.FSGroup != nil {
		err = fill.Group(target, int(*config.FSGroup))
	}
	return err
}

// openOverlaid opens the files that the volumes will hide: the pod's, and those that say which machine
// this is.
func openOverlaid(config *Config) ([]overlaidFile, error) {
	var files []overlaidFile
	for _, f := range append(slices.Clone(config.Etc), config.Container.Files...) {
		if !slices.ContainsFunc(config.Container.Mounts, func(m guest.Mount) bool { return strings.HasPrefix(path.Clean(f.Path), path.Clean(m.Path)+"/") }) {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, f.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, &StartError{126, fmt.Sprintf("file %s: %v", f.Path, err)}
		}
		files = append(files, overlaidFile{tree{fd: fd}, f.Path})
	}
	return files, nil
}

func mountOverlay(image, scratch string) error {
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	var root unix.Stat_t // the root has the owner and mode of the upper directory
	if err := unix.Stat(image, &root); err != nil {
		return err
	}
	if err := unix.Chmod(upper, root.Mode&0o7777); err != nil {
		return err
	}
	if err := unix.Chown(upper, int(root.Uid), int(root.Gid)); err != nil {
		return err
	}
	// Device nodes of the image would open, although its own file system is mounted without devices.
	return unix.Mount("overlay", RootDir, "overlay", unix.MS_NODEV, "lowerdir="+image+",upperdir="+upper+",workdir="+work)
}

// pivot makes dir the root and unmounts the old one.
func pivot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	// With the same directory twice, the old root is mounted on top of the new one.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

// tree is a part of a volume that is not mounted yet.
type tree struct {
	fd    int
	isDir bool
}

// openMessage opens the file while it is still visible. It returns nil if there is none.
func openMessage(file string) (*tree, error) {
	if file == "" {
		return nil, nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, file, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("termination message: %w", err)
	}
	return &tree{fd: fd}, nil
}

// openShm opens the shared memory while it is still visible.
func openShm() (tree, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, ShmDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return tree{}, fmt.Errorf("shared memory: %w", err)
	}
	return tree{fd: fd, isDir: true}, nil
}

// openVolumes opens what the container mounts while the volumes are still visible.
func openVolumes(config *Config) ([]tree, error) {
	var trees []tree
	for _, m := range config.Container.Mounts {
		t, err := openVolume(m, config.Writable[m.Volume])
		if err != nil {
			return nil, &StartError{126, fmt.Sprintf("mount %s: volume %s: %v", m.Path, m.Volume, err)}
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// openDevices opens the disks that the container gets while they are still visible. The guest's /dev permits devices, whatever the container mounts
// them over.
func openDevices(config *Config) ([]tree, error) {
	var trees []tree
	for _, d := range config.Container.VolumeDevices {
		fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join("/dev", config.Devices[d.Volume]), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, &StartError{126, fmt.Sprintf("device %s: volume %s: %v", d.DevicePath, d.Volume, err)}
		}
		trees = append(trees, tree{fd: fd})
	}
	return trees, nil
}

func openVolume(m guest.Mount, writable bool) (tree, error) {
	root, err := unix.Open(filepath.Join(VolumesDir, m.Volume), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return tree{}, err
	}
	defer unix.Close(root)
	at, err := openSubPath(root, m.SubPath, writable)
	if err != nil {
		return tree{}, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return tree{}, err
	}
	t := tree{isDir: st.Mode&unix.S_IFMT == unix.S_IFDIR}
	t.fd, err = unix.OpenTree(at, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return tree{}, err
	}
	if m.ReadOnly {
		ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(t.fd, "", unix.AT_EMPTY_PATH, &ro); err != nil {
			return tree{}, err
		}
	}
	return t, nil
}

// openSubPath opens a path inside a volume. The path is resolved as if the volume were the root, so
// no link in it leads elsewhere. Missing directories are created.
func openSubPath(root int, sub string, writable bool) (int, error) {
	inside := func(p string) (int, error) {
		return unix.Openat2(root, p, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
	}
	fd, err := inside(path.Clean("/" + sub))
	if !errors.Is(err, unix.ENOENT) || !writable {
		return fd, err
	}
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(path.Clean("/"+sub), "/"), "/") {
		parent, err := inside(at)
		if err != nil {
			return -1, err
		}
		err = unix.Mkdirat(parent, name, 0o755)
		unix.Close(parent)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, err
		}
		at = path.Join(at, name)
	}
	return inside(at)
}

// attach mounts the tree, and creates the mount point if it is missing.
func (t tree) attach(target string) error {
	if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
		return err
	}
	if t.isDir {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else {
		f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY|unix.O_NONBLOCK, 0o644) // somebody may have put a pipe there
		if err != nil {
			return err
		}
		f.Close()
	}
	err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	unix.Close(t.fd)
	return err
}
