package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
)

// What libvirt writes into a domain's log when it starts and stops.
var lifeLine = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): (starting up|shutting down)`)

// lifeTail is how much of a log is looked at from its end: a start writes some kilobytes, and a guest writes none of it.
const lifeTail = 256 << 10

// startingPoll is how often a machine is looked at that libvirt is starting.
const startingPoll = 50 * time.Millisecond

// AwaitStart waits until libvirt has started a pod's machine, which an agent before this one may have asked for, and tells whether it had to wait. It
// returns when there is no machine any more, too.
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
			// One that is paused for another reason, by a disk's error or by hand, has been started.
			starting := state == libvirt.DOMAIN_PAUSED && libvirt.DomainPausedReason(reason) == libvirt.DOMAIN_PAUSED_STARTING_UP
			return starting || state == libvirt.DOMAIN_NOSTATE || state == libvirt.DOMAIN_SHUTOFF, err
		})
		if err != nil || !starting {
			return waited, err
		}
		waited = true
		select {
		case <-ctx.Done():
			return waited, fmt.Errorf("the machine of pod %s does not start: %w", pod, ctx.Err())
		case <-time.After(startingPoll):
		}
	}
}

// LastLife says when a pod's machine was last started and last stopped, by what libvirt leaves behind: an agent that was dead at that moment learns it from
// there. What is not known is the zero time.
//
// Libvirt's log has the moment in which it begins to start a machine, which on a busy node is seconds before the machine runs. It writes down what it knows of a
// domain when that runs, so the time of that file is better, for an agent that comes soon after.
func (m *Manager) LastLife(pod uuid.UUID) (started, stopped time.Time, err error) {
	f, err := os.Open(filepath.Join(m.cfg.LifeLogDir, "husk-"+pod.String()+".log"))
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
			continue // libvirt would have to write another kind of time
		}
		if bytes.Equal(line[2], []byte("starting up")) {
			started, stopped = at, time.Time{}
		} else {
			stopped = at
		}
	}
	if status, err := os.Stat(filepath.Join(m.cfg.RunDir, "husk-"+pod.String()+".xml")); err == nil && stopped.IsZero() && status.ModTime().After(started) {
		started = status.ModTime()
	}
	return started, stopped, nil
}
