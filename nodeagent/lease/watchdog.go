// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is how often the watchdog reads the lease.
const lookEvery = 500 * time.Millisecond

func lockFile(stateDir string) string { return filepath.Join(stateDir, "watchdog.lock") }

// Watch is the watchdog: it ends the machines that write volumes while the node has no lease. It returns when ctx ends, when the agent's state is
// removed, or at once if another watchdog runs. It keeps nothing in memory, so it may be suspended, killed and started again at any point.
func Watch(ctx context.Context, stateDir string, log *slog.Logger) error {
	lock, err := lockExclusively(stateDir)
	if lock == nil || err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // the kernel releases the lock
	if _, err := lock.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0); err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	return every(ctx, func() error {
		end, err := read(stateDir, boot)
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			log.Error("the lease is not readable, and does not count", "error", err)
		} else if end > Now() {
			return nil
		}
		endWriters(stateDir, log)
		return nil
	})
}

// every calls f until ctx ends or f returns an error. fs.ErrNotExist means that there is nothing left to do.
func every(ctx context.Context, f func() error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := f(); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func endWriters(stateDir string, log *slog.Logger) {
	n, err := EndWriters(stateDir)
	if n > 0 {
		log.Warn("the node's lease has run out: the server does not respond, and may start pods with volumes on another node. Their machines are ended here", "machines", n)
	}
	if err != nil {
		log.Error("a machine that writes volumes could not be ended; retrying", "error", err)
	}
}

// lockExclusively takes the watchdog's lock, and returns nil if another process has it.
func lockExclusively(stateDir string) (*os.File, error) {
	f, err := os.OpenFile(lockFile(stateDir), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator sets the directory
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}

// Guard ends the machines that write volumes while the node has no lease, and keeps the watchdog running, until ctx ends.
func Guard(ctx context.Context, l *Lease, stateDir string, log *slog.Logger) {
	_ = every(ctx, func() error { //nolint:errcheck // it never fails
		if l.Left() == 0 {
			endWriters(stateDir, log)
		}
		if err := ensure(stateDir); err != nil {
			log.Error("the watchdog of the lease does not run; retrying", "error", err)
		}
		return nil
	})
}

// ensure starts the watchdog, unless it runs. It belongs to no group or session of the agent, so that it survives the agent.
func ensure(stateDir string) error {
	lock, err := lockExclusively(stateDir)
	if lock == nil || err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "watchdog", "--state-dir", stateDir) //nolint:gosec,noctx // this program; it outlives every context
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()  //nolint:errcheck // reaps it; another is started when it has ended
	for range 20 { // until it has the lock, so that no second one is started
		if lock, err := lockExclusively(stateDir); lock == nil {
			return err
		} else if err := lock.Close(); err != nil {
			return err
		}
		time.Sleep(lookEvery / 10)
	}
	return nil
}

// Dismiss ends the watchdog, after the agent has ended every machine.
func Dismiss(stateDir string) error {
	lock, err := lockExclusively(stateDir)
	if err != nil {
		return err
	}
	if lock != nil { // none runs
		return lock.Close()
	}
	raw, err := os.ReadFile(lockFile(stateDir)) //nolint:gosec // the agent's own state
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s does not hold the watchdog's process: %q", lockFile(stateDir), raw)
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the watchdog: %w", err)
	}
	return nil
}
