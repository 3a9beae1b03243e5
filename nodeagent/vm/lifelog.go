// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
)

// The lines that libvirt writes to a domain's log when it starts and stops.
var lifeLine = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): (starting up|shutting down)`)

// lifeTail is how many bytes of a log are read from its end. A start writes some kilobytes, and a
// guest writes nothing to it.
const lifeTail = 256 << 10

// startingPoll is how often to check a machine that libvirt is starting.
const startingPoll = 50 * time.Millisecond

// AwaitStart waits while libvirt is still starting a pod's machine, for example at the request of a
// previous agent. It reports whether it had to wait. It also returns if the machine no longer
// exists.
func (m *Manager) AwaitStart(ctx context.Context, pod uuid.UUID) (waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		starting, err := call(ctx, m, callTimeout, func(c *libvirt.Connect) (bool, error) {
			dom, err := c.LookupDomainByUUID(pod[:])
			if is(err, libvirt.ERR_NO_DOMAIN) {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("look up the domain of pod %s: %w", pod, err)
			}
			defer dom.Free() //nolint:errcheck // it only drops a reference
			state, reason, err := dom.GetState()
			if is(err, libvirt.ERR_NO_DOMAIN) {
				return false, nil
			}
			// A machine that is paused for another reason, such as a disk error or an operator, has
			// been started.
			starting := state == libvirt.DOMAIN_PAUSED && libvirt.DomainPausedReason(reason) == libvirt.DOMAIN_PAUSED_STARTING_UP
			return starting || state == libvirt.DOMAIN_NOSTATE || state == libvirt.DOMAIN_SHUTOFF, err
		})
		if err != nil || !starting {
			return waited, err
		}
		waited = true
		select {
		case <-ctx.Done():
			return waited, fmt.Errorf("wait for the start of pod %s's machine: %w", pod, ctx.Err())
		case <-time.After(startingPoll):
		}
	}
}

// LifeLog returns the path of libvirt's log of a pod's machine.
func LifeLog(dir, pod string) string { return filepath.Join(dir, "husk-"+pod+".log") }

// LifeLogs yields libvirt's logs of pods' machines, also of those that are gone.
func LifeLogs(dir string) iter.Seq2[uuid.UUID, string] {
	return func(yield func(uuid.UUID, string) bool) {
		logs, _ := filepath.Glob(LifeLog(dir, "*")) // the only error is about the pattern
		for _, log := range logs {
			pod, err := uuid.Parse(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(log), "husk-"), ".log"))
			if err == nil && !yield(pod, log) {
				return
			}
		}
	}
}

// LastLife returns when a pod's machine was last started and last stopped, from the files that
// libvirt leaves. An agent that was not running at that moment learns the time from them. Unknown
// times are zero.
//
// Libvirt's log has the time at which it begins to start a machine, which on a busy node is seconds
// before the machine runs. Libvirt writes the file with the id of QEMU's process once, when it starts
// QEMU, so the time of that file is better if it still exists. Its state file of the domain has a later
// time: it is written again when the guest opens its channel, and at other occasions.
func (m *Manager) LastLife(pod uuid.UUID) (started, stopped time.Time, err error) {
	f, err := os.Open(LifeLog(m.cfg.LifeLogDir, pod.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return started, stopped, nil
	}
	if err != nil {
		return started, stopped, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	if end, err := f.Seek(0, io.SeekEnd); err == nil && end > lifeTail {
		if _, err := f.Seek(-lifeTail, io.SeekEnd); err != nil {
			return started, stopped, err
		}
	} else if _, err := f.Seek(0, io.SeekStart); err != nil {
		return started, stopped, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, lifeTail))
	if err != nil {
		return started, stopped, err
	}
	for _, line := range lifeLine.FindAllSubmatch(raw, -1) {
		at, err := time.Parse("2006-01-02 15:04:05.000-0700", string(line[1]))
		if err != nil {
			continue // does not happen unless libvirt changes its time format
		}
		if bytes.Equal(line[2], []byte("starting up")) {
			started, stopped = at, time.Time{}
		} else {
			stopped = at
		}
	}
	if status, err := os.Stat(filepath.Join(m.cfg.RunDir, "husk-"+pod.String()+".pid")); err == nil && stopped.IsZero() && status.ModTime().After(started) {
		started = status.ModTime()
	}
	return started, stopped, nil
}
