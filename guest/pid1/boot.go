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

// Where husk-init keeps what belongs to the pod.
const (
	stateDir   = "/run/husk"
	imagesDir  = stateDir + "/images"  // a squashfs per image disk
	volumesDir = stateDir + "/volumes" // a file system per volume
	scratchDir = stateDir + "/scratch" // what containers write to their root
	rootDir    = stateDir + "/root"    // a container's root, in its own mount namespace
	cgroupDir  = "/sys/fs/cgroup"
)

type fsMount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

const noExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountKernel mounts what loading modules and finding the console needs.
func mountKernel() {
	// pivot_root refuses to move the initial ramfs away. A bind mount of it on
	// top of itself is a root like any other, so containers can pivot.
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
	for _, dir := range []string{imagesDir, volumesDir, scratchDir, rootDir} {
		must("mkdir", os.MkdirAll(dir, 0o755))
	}
	// When the pod runs out of memory, the kernel must look for a culprit
	// among the containers.
	must("oom score", os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0))
	if err := os.WriteFile(filepath.Join(cgroupDir, "cgroup.subtree_control"), []byte("+memory +pids +cpu"), 0); err != nil {
		warn("cgroup controllers: %v", err) // then an OOM kill is not recognised as one
	}
}

func mountAll(mounts []fsMount) {
	for _, m := range mounts {
		must("mkdir", os.MkdirAll(m.target, 0o755))
		must("mount "+m.target, unix.Mount(m.source, m.target, m.kind, m.flags, m.data))
	}
}

// consoleWait is how long a virtio console may take to appear after its driver
// was loaded.
const consoleWait = time.Second

// openConsole makes the console standard input, output and error. The kernel
// has done so already if the console's driver is built in; that of virtio has
// just been loaded and registers its ports a little later.
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

// Lists of modules in the initramfs, one path per line in the order of loading.
// The early ones are what the channel and the console need; the others are
// loaded while the host is still being greeted.
const (
	earlyModules = "/modules/early"
	lateModules  = "/modules/late"
	// What mounting volumes takes; a pod without any saves the time.
	volumeModules = "/modules/volume"
)

// loadModules loads the modules of a list. A kernel may have all of them built
// in, then there is no list; one that cannot be loaded is missed, if at all, by
// whoever needs it, who has the better message.
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
	os.Remove(path) // the kernel has its copy; this one is memory of the pod
	return nil
}
