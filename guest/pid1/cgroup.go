//go:build linux

package pid1

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup holds the processes of one run of a container. It sets no limits: the
// VM is the limit. It tells OOM kills, and kills everything at once.
type cgroup struct{ name, dir string }

func newCgroup(name string) (cgroup, error) {
	c := cgroup{name, filepath.Join(cgroupDir, name)}
	return c, os.Mkdir(c.dir, 0o755)
}

func (c cgroup) open() (int, error) {
	return unix.Open(c.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func (c cgroup) kill() {
	os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// oomKills counts processes that the kernel killed for want of memory.
func (c cgroup) oomKills() int {
	b, err := os.ReadFile(filepath.Join(c.dir, "memory.events"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}

// remove waits a moment for the kernel to forget the last process. An empty
// group that stays costs a little memory and nothing else.
func (c cgroup) remove() {
	// Commands beside the container's own have groups in it; what they left
	// behind is dead by now.
	for wait := time.Millisecond; wait < time.Second; wait *= 2 {
		inner, _ := filepath.Glob(filepath.Join(c.dir, "exec.*"))
		for _, dir := range inner {
			os.Remove(dir)
		}
		if os.Remove(c.dir) == nil {
			return
		}
		time.Sleep(wait)
	}
}

// removeIfEmpty removes the group unless processes were left behind in it;
// then it goes with the container's.
func (c cgroup) removeIfEmpty() {
	for wait := time.Millisecond; wait < 10*time.Millisecond; wait *= 2 {
		if os.Remove(c.dir) == nil {
			return
		}
		time.Sleep(wait)
	}
}
