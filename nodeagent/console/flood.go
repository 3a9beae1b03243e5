// SPDX-License-Identifier: Apache-2.0

package console

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// LookEvery is how often a console should be measured.
	LookEvery = 250 * time.Millisecond
	// floodRate and floodBurst limit what a machine prints, in bytes per second and in bytes. A boot prints about 50 KiB.
	floodRate  = 64 << 10
	floodBurst = 1 << 20
)

// Flood reports whether a machine prints more than its limit. virtlogd limits the size of its files, but not how much it writes to the
// node's disk. Neither libvirt nor virtlogd can limit that, so the caller must slow the machine down.
type Flood struct {
	path  string
	sizes map[file]int64 // of the current and the rotated files
	level float64        // bytes above floodRate
	last  time.Time
	over  bool
}

// file identifies a file. An inode number alone is not enough, because the file system uses it again after virtlogd has deleted a file.
type file struct {
	inode uint64
	birth unix.StatxTimestamp
}

// NewFlood measures the console in the file from now on.
func NewFlood(path string) *Flood { return &Flood{path: path} }

// Check measures the console again. Once the machine has printed too much, it returns true until the machine has made up for it.
func (f *Flood) Check(now time.Time) bool {
	grown := float64(f.grown())
	if !f.last.IsZero() {
		f.level = max(0, f.level-now.Sub(f.last).Seconds()*floodRate)
	}
	f.last = now
	f.level += grown
	switch {
	case f.level > floodBurst:
		f.over = true
	case f.level < floodBurst/2:
		f.over = false
	}
	return f.over
}

// grown returns how many bytes were written since the last call, and 0 at the first. It misses what was written to a file that virtlogd
// has already deleted. A machine that achieves this has printed too much anyway.
func (f *Flood) grown() (n int64) {
	files, err := filepath.Glob(f.path + "*")
	if err != nil {
		return 0 // the path has no pattern in it
	}
	first, sizes := f.sizes == nil, map[file]int64{}
	for _, name := range files {
		var info unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_INO|unix.STATX_SIZE|unix.STATX_BTIME, &info); err != nil {
			continue // rotated or deleted in the meantime
		}
		id := file{info.Ino, info.Btime}
		sizes[id] = int64(info.Size) //nolint:gosec // a file's size
		n += max(0, sizes[id]-f.sizes[id])
	}
	f.sizes = sizes
	if first {
		return 0
	}
	return n
}
