// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where husk-init keeps the pod's files.
const (
	stateDir    = "/run/husk"
	imagesDir   = stateDir + "/images"   // a squashfs per image disk
	volumesDir  = stateDir + "/volumes"  // a file system per volume
	scratchDir  = stateDir + "/scratch"  // what containers write to their root
	rootDir     = stateDir + "/root"     // a container's root, in its own mount namespace
	messagesDir = stateDir + "/messages" // the termination message of each run
	cgroupDir   = "/sys/fs/cgroup"
)

type fsMount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

const noExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountKernel mounts what is needed to load modules and find the console.
func mountKernel() {
	// pivot_root cannot move the initial ramfs. A bind mount of it on top of itself is a normal
	// root, so containers can pivot.
	must("mkdir /mnt", os.MkdirAll("/mnt", 0o755))
	must("bind root", unix.Mount("/", "/mnt", "", unix.MS_BIND, ""))
	must("chdir /mnt", unix.Chdir("/mnt"))
	must("move root", unix.Mount("/mnt", "/", "", unix.MS_MOVE, ""))
	must("chroot", unix.Chroot("."))
	must("chdir /", unix.Chdir("/"))
	mountAll([]fsMount{
		{"proc", "/proc", "proc", noExec, ""},
		{"sysfs", "/sys", "sysfs", noExec, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755"},
	})
}

func mountRest() {
	mountAll([]fsMount{
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"cgroup2", cgroupDir, "cgroup2", noExec, ""},
	})
	mountAll([]fsMount{{"tmpfs", messagesDir, "tmpfs", noExec, "mode=0700,size=1m"}})
	for _, dir := range []string{imagesDir, volumesDir, scratchDir, rootDir} {
		must("mkdir", os.MkdirAll(dir, 0o755))
	}
	// If the pod runs out of memory, the kernel must choose a process of a container.
	must("oom score", os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0))
	if err := os.WriteFile(filepath.Join(cgroupDir, "cgroup.subtree_control"), []byte("+memory +pids +cpu"), 0); err != nil {
		warn("cgroup controllers: %v", err) // without it, an OOM kill is not recognized as such
	}
}

func mountAll(mounts []fsMount) {
	for _, m := range mounts {
		must("mkdir", os.MkdirAll(m.target, 0o755))
		must("mount "+m.target, unix.Mount(m.source, m.target, m.kind, m.flags, m.data))
	}
}

// consoleWait is how long a virtio console may take to appear after its driver was loaded.
const consoleWait = time.Second

// openConsole makes the console standard input, output and error. If the console's driver is built
// in, the kernel has already done so. The virtio driver has just been loaded and registers its
// ports a little later.
func openConsole() {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	cmdline, _ := os.ReadFile("/proc/cmdline")
	virtio := bytes.Contains(cmdline, []byte("console=hvc"))
	for end := time.Now().Add(consoleWait); err != nil && virtio && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		fd, err = unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		if fd, err = unix.Open("/dev/null", unix.O_RDWR, 0); err != nil {
			return
		}
	}
	for std := range 3 {
		if fd != std {
			unix.Dup3(fd, std, 0)
		}
	}
	if fd > 2 {
		unix.Close(fd)
	}
}

func must(what string, err error) {
	if err != nil {
		panic(fmt.Sprintf("husk-init: %s: %v", what, err))
	}
}

// Lists of modules in the initramfs, one path per line, in the order of loading. The channel and
// the console need the early ones. The others are loaded during the handshake with the host.
const (
	earlyModules = "/modules/early"
	lateModules  = "/modules/late"
	// The modules for mounting volumes. A pod without volumes saves the time to load them.
	volumeModules = "/modules/volume"
)

// loadModules loads the modules of a list. There is no list if the kernel has all of them built in.
// An error is not reported here: whatever needs a missing module reports a better one.
func loadModules(list string) {
	b, err := os.ReadFile(list)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		warn("%v", err)
		return
	}
	for path := range strings.FieldsSeq(string(b)) {
		if err := loadModule(path); err != nil {
			warn("module %s: %v", path, err)
		}
	}
}

func loadModule(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	os.Remove(path) // the kernel has its copy; the file uses the pod's memory
	return nil
}
