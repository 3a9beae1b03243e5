// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"husk"
	"husk/openapi"
)

// follow keeps the desired state current. It refuses a revision older than one that was accepted
// before, also across restarts: a replayed stale desired state must not restart a stopped pod.
func (a *Agent) follow(ctx context.Context, out chan husk.DesiredState) {
	known := int64(-1) // get the complete state at every start
	floor, err := a.loadRevision()
	if err != nil {
		a.log.Error("cannot read the last revision; accepting any revision", "error", err)
	}
	var wait backoff
	for ctx.Err() == nil {
		state, err := a.server.desired(ctx, known)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("cannot get the desired state; retrying", "error", err)
				wait.sleep(ctx)
			}
			continue
		}
		wait.reset()
		if state.Revision < floor {
			a.log.Error("refused a stale desired state", "revision", state.Revision, "known", floor)
			wait.sleep(ctx)
			continue
		}
		if state.Revision > floor {
			floor = state.Revision
			if err := writeFile(revisionFile(a.cfg.StateDir), []byte(fmt.Sprint(floor))); err != nil {
				a.log.Error("cannot store the revision", "error", err)
			}
		}
		known = state.Revision
		select { // only the newest one matters
		case <-out:
		default:
		}
		out <- state
	}
}

func revisionFile(stateDir string) string { return filepath.Join(stateDir, "revision") }

func (a *Agent) loadRevision() (int64, error) {
	raw, err := os.ReadFile(revisionFile(a.cfg.StateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	var revision int64
	return revision, json.Unmarshal(raw, &revision)
}

// capabilities is what this version can do beyond the first version of the protocol.
var capabilities = []string{husk.CapabilityPrivileged}

// heartbeat renews the lease until ctx ends.
func (a *Agent) heartbeat(ctx context.Context) {
	var interval time.Duration
	for {
		lease, err := a.server.heartbeat(ctx, openapi.Heartbeat{
			Capacity: openapi.Capacity(a.cfg.Capacity), VmmOverheadMiB: a.cfg.OverheadMiB,
			Endpoint: "https://" + a.cfg.Listen, Capabilities: &capabilities,
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Warn("heartbeat not accepted; retrying", "error", err)
			interval = time.Second
		default:
			interval = time.Duration(lease.HeartbeatSeconds) * time.Second
			if lease.Resync {
				a.reports.resync()
			}
			a.metrics.heartbeat.SetToCurrentTime()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}
