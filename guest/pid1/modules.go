//go:build linux

package pid1

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

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
