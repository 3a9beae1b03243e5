// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxStateDir keeps unix socket paths below the kernel's limit of 107 bytes.
const maxStateDir = 75

// InUseError is returned if another process holds the state directory.
type InUseError struct {
	StateDir string
	PID      int // as written by the holder; may be 0
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("pid %d", e.PID)
	}
	return fmt.Sprintf("state directory %s is in use by %s; stop it first or pass another --state-dir", e.StateDir, holder)
}

// stateDir is a locked state directory. The lock is an flock, so the kernel releases it however the
// holder ends.
type stateDir struct {
	path string
	lock *os.File
}

func openStateDir(path string) (*stateDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxStateDir {
		return nil, fmt.Errorf("state directory %s: the path is longer than %d bytes, which is too long for the unix sockets in it; pass a shorter --state-dir", path, maxStateDir)
	}
	// Other users may pass through but not list it, because Postgres runs as its own user.
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, err
	}
	d := &stateDir{path: path}
	if d.lock, err = os.OpenFile(d.join("lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := holderOf(d.lock) // only for the message
		_ = d.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &InUseError{StateDir: path, PID: pid}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := errors.Join(
		d.lock.Truncate(0), d.mark(markNotUp),
		d.mkdir("run", 0o711), d.mkdir("log", 0o711), d.mkdir("secrets", 0o700),
	); err != nil {
		_ = d.lock.Close()
		return nil, err
	}
	return d, nil
}

// The texts that mark writes. They have the same length, so that each write replaces the previous one.
const markUp, markNotUp = "up", "  "

// mark writes the holder's process id and a mark into the lock file, in one write.
func (d *stateDir) mark(mark string) error {
	_, err := d.lock.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), mark), 0)
	return err
}

// holderOf reads what mark wrote. It returns 0 if the holder has not written anything yet.
func holderOf(lock *os.File) (pid int, up bool) {
	raw := make([]byte, 32)
	n, _ := lock.ReadAt(raw, 0)
	number, mark, _ := strings.Cut(strings.TrimSpace(string(raw[:n])), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return 0, false
	}
	return pid, mark == markUp
}

// close releases the lock explicitly. A process that is being forked has a copy of the file until it
// executes its program, and the copy would keep the lock.
func (d *stateDir) close() error {
	return errors.Join(unix.Flock(int(d.lock.Fd()), unix.LOCK_UN), d.lock.Close())
}

func (d *stateDir) join(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// mkdir creates a directory, or gives an older one this mode.
func (d *stateDir) mkdir(name string, mode os.FileMode) error {
	path := d.join(name)
	return cmp.Or(os.MkdirAll(path, mode), os.Chmod(path, mode))
}

// secret returns the named random password, which is created at first use.
func (d *stateDir) secret(name string) (string, error) {
	path := d.join("secrets", name)
	data, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails
	value := hex.EncodeToString(raw)
	return value, writeFileAtomic(path, []byte(value+"\n"))
}

// writeFileAtomic leaves either the old file or the complete new one, readable only by this user.
func writeFileAtomic(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// Holder returns the process that holds a state directory, or 0 if none does. It also reports whether
// the process has called [Stack.SetUp] and is not stopping.
func Holder(path string) (pid int, up bool) {
	f, err := os.Open(filepath.Join(path, "lock"))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // not only by closing it, see close
		return 0, false
	}
	return holderOf(f)
}
