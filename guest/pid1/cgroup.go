// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// cgroup contains the processes of one run of a container. It is used to recognize OOM kills, and to
// kill all processes at once. It sets a limit if the container has one; otherwise the VM is the limit.
type cgroup struct{ name, dir string }

func newCgroup(name string) (cgroup, error) {
	c := cgroup{name, filepath.Join(cgroupDir, name)}
	return c, os.Mkdir(c.dir, 0o755)
}

// cpuPeriod is the period in which the processes of a group get their share, in microseconds.
const cpuPeriod = 100_000

func (c cgroup) limit(l guest.Limits) error {
	set := func(file, value string) error { return os.WriteFile(filepath.Join(c.dir, file), []byte(value), 0) }
	if l.CPUMillis > 0 {
		if err := set("cpu.max", fmt.Sprintf("%d %d", l.CPUMillis*cpuPeriod/1000, cpuPeriod)); err != nil {
			return err
		}
	}
	if l.MemoryMiB > 0 {
		return set("memory.max", strconv.Itoa(l.MemoryMiB<<20))
	}
	return nil
}

func (c cgroup) open() (int, error) {
	return unix.Open(c.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func (c cgroup) kill() {
	os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// oomKills counts processes that the kernel killed because memory was insufficient.
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

// remove waits a moment until the kernel has removed the last process. An empty group that remains
// only costs a little memory.
func (c cgroup) remove() {
	// Exec commands have groups inside it. Their processes have ended by now.
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

// removeIfEmpty removes the group unless it still has processes. A group that has some is removed
// later, together with the container's group.
func (c cgroup) removeIfEmpty() {
	for wait := time.Millisecond; wait < 10*time.Millisecond; wait *= 2 {
		if os.Remove(c.dir) == nil {
			return
		}
		time.Sleep(wait)
	}
}
