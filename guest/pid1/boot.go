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

	"husk/guest/become"
)

// Where husk-init keeps the pod's files.
const (
	imagesDir   = become.StateDir + "/images"   // a squashfs per image disk
	scratchDir  = become.StateDir + "/scratch"  // what containers write to their root
	messagesDir = become.StateDir + "/messages" // the termination message of each run
	cgroupDir   = "/sys/fs/cgroup"
)

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
	mountAll([]become.FSMount{
		{Source: "proc", Target: "/proc", Kind: "proc", Flags: become.NoExec, Data: ""},
		{Source: "sysfs", Target: "/sys", Kind: "sysfs", Flags: become.NoExec, Data: ""},
		{Source: "devtmpfs", Target: "/dev", Kind: "devtmpfs", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "mode=0755"},
	})
}

func mountRest() {
	mountAll([]become.FSMount{
		{Source: "tmpfs", Target: "/run", Kind: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=0755"},
		{Source: "cgroup2", Target: cgroupDir, Kind: "cgroup2", Flags: become.NoExec, Data: ""},
	})
	mountAll([]become.FSMount{{Source: "tmpfs", Target: messagesDir, Kind: "tmpfs", Flags: become.NoExec, Data: "mode=0700,size=1m"}})
	for _, dir := range []string{imagesDir, become.VolumesDir, scratchDir, become.RootDir} {
		must("mkdir", os.MkdirAll(dir, 0o755))
	}
	// If the pod runs out of memory, the kernel must choose a process of a container.
	must("oom score", os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0))
	if err := os.WriteFile(filepath.Join(cgroupDir, "cgroup.subtree_control"), []byte("+memory +pids +cpu"), 0); err != nil {
		warn("cgroup controllers: %v", err) // without it, an OOM kill is not recognized as such
	}
}

func mountAll(mounts []become.FSMount) {
	for _, m := range mounts {
		must("mkdir", os.MkdirAll(m.Target, 0o755))
		must("mount "+m.Target, unix.Mount(m.Source, m.Target, m.Kind, m.Flags, m.Data))
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
	// The modules for mounting volumes and the scratch disk. A pod without them saves the time to load them.
	volumeModules = "/modules/volume"
	xfsModules    = "/modules/xfs"
	coverModules  = "/modules/cover"  // for file systems that recover on disks that cannot be written
	resizeModules = "/modules/resize" // for memory that the machine gets later
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

// dropModules removes the modules of a list that is not needed: they use the pod's memory.
func dropModules(list string) {
	b, err := os.ReadFile(list)
	if err != nil {
		return
	}
	for path := range strings.FieldsSeq(string(b)) {
		os.Remove(path)
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
