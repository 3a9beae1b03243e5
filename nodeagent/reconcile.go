// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/network"
	"husk/nodeagent/plan"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
)

// reconcileEvery is how often the actual state is compared even if the desired state has not
// changed.
const reconcileEvery = 5 * time.Second

// reconcile applies every new desired state, and compares again periodically. ctx ends it; workers
// run under workCtx.
func (a *Agent) reconcile(ctx, workCtx context.Context, states <-chan desiredState) {
	var desired *desiredState
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-states:
			desired = &s
		case <-time.After(reconcileEvery):
		}
		if desired == nil {
			continue // change nothing before the server has sent a desired state
		}
		start := time.Now()
		if a.pass(ctx, workCtx, desired.DesiredState) && a.lease.Confirm(desired.sent) {
			for _, w := range a.allWorkers() { // those that wait for the lease
				w.poke()
			}
		}
		a.metrics.reconcile.Observe(time.Since(start).Seconds())
	}
}

// pass reports whether every worker knows the desired state, and those of other pods have ended.
func (a *Agent) pass(ctx, workCtx context.Context, desired husk.DesiredState) (told bool) {
	if !a.adopted {
		if err := a.adopt(ctx, desired); err != nil {
			a.log.Error("running pods cannot be adopted yet; retrying", "error", err)
			return false
		}
		a.adopted = true
	}
	// Workers first: a new pod does not have to wait until libvirt has listed the domains.
	workers := a.workerIDs()
	for _, pod := range plan.Diff(desired, workers, nil, nil).Tell {
		a.tell(workCtx, pod)
	}
	domains, err := a.vms.List(ctx)
	if err != nil {
		a.log.Error("cannot list the running pods; retrying", "error", err)
		return false
	}
	dirs, err := a.podDirs()
	if err != nil {
		a.log.Error("cannot read the state directory; retrying", "error", err)
	}
	p := plan.Diff(desired, workers, domains, dirs)
	for _, id := range p.Dismiss {
		a.dismiss(id)
	}
	clean := true
	for _, id := range p.Orphans {
		if err := a.destroy(ctx, id); err != nil {
			a.log.Error("orphan not removed; retrying", "pod", id, "error", err)
			clean = false
			continue
		}
		a.log.Info("orphan removed", "pod", id)
	}
	if clean {
		a.applied.Store(desired.Revision)
	}
	networks := map[uuid.UUID]bool{}
	for _, pod := range desired.Pods {
		for _, n := range pod.Networks() {
			networks[n.ID] = pod.State != husk.DesiredGone || networks[n.ID]
		}
	}
	maps.DeleteFunc(networks, func(_ uuid.UUID, used bool) bool { return !used })
	a.names.Keep(workCtx, networks, a.net)
	if err := a.net.RemoveUnused(ctx); err != nil {
		a.log.Error("network is not in its desired state; retrying", "error", err)
	}
	return true
}

// adopt attaches the machines that run and are in the desired state to the network, before anything
// else changes.
func (a *Agent) adopt(ctx context.Context, desired husk.DesiredState) error {
	domains, err := a.vms.List(ctx)
	if err != nil {
		return err
	}
	runs := map[uuid.UUID]bool{}
	for _, d := range domains {
		runs[d.PodID] = true
	}
	var ports []network.Port
	for _, pod := range desired.Pods {
		if !runs[pod.ID] {
			continue
		}
		all, err := translate.Ports(pod)
		if err != nil {
			return fmt.Errorf("pod %s: %w", pod.ID, err)
		}
		ports = append(ports, all...)
	}
	return a.net.Attach(ctx, ports...)
}

func (a *Agent) workerIDs() map[uuid.UUID]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make(map[uuid.UUID]bool, len(a.workers))
	for id := range a.workers {
		ids[id] = true
	}
	return ids
}

// tell passes a pod's desired state to its worker, and makes a worker if there is none.
func (a *Agent) tell(workCtx context.Context, pod husk.DesiredPod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	w, ok := a.workers[pod.ID]
	if !ok {
		w = newWorker(workCtx, a, pod)
		a.workers[pod.ID] = w
		go w.run() // waitWorkers waits for it
	}
	w.tell(pod)
}

// dismiss ends the worker of a pod that the server no longer lists. The pod has been reported as
// gone.
func (a *Agent) dismiss(id uuid.UUID) {
	a.mu.Lock()
	w := a.workers[id]
	delete(a.workers, id)
	a.mu.Unlock()
	w.cancel()
	<-w.done
	a.reports.forget(id)
}

// destroy removes everything of a pod from this node. It is idempotent.
func (a *Agent) destroy(ctx context.Context, id uuid.UUID) error {
	if err := a.vms.Destroy(ctx, id); err != nil {
		return err
	}
	if err := errors.Join(a.recordUsage(ctx, id, false, nil), a.net.Detach(ctx, id)); err != nil {
		return err
	}
	if err := removeAll(vm.ConsoleLog(a.cfg.VM.LogDir, id.String())); err != nil {
		return err
	}
	return os.RemoveAll(a.podDir(id))
}

// removeAll removes a log and its rotated predecessors.
func removeAll(log string) error {
	files, err := filepath.Glob(log + "*")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// Libvirt keeps its log of a machine forever. An operator may want to read it after the pod is gone,
// so it stays for a day after its last line.
const (
	oldLogs        = 24 * time.Hour
	lookForOldLogs = time.Hour
)

// removeOldLogs removes libvirt's logs of machines that are gone, until ctx ends.
func (a *Agent) removeOldLogs(ctx context.Context) {
	for {
		a.removeLogsBefore(time.Now().Add(-oldLogs))
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookForOldLogs):
		}
	}
}

func (a *Agent) removeLogsBefore(last time.Time) {
	known := a.workerIDs()
	for pod, log := range vm.LifeLogs(a.cfg.VM.LifeLogDir) {
		info, err := os.Stat(log)
		if err != nil || known[pod] || info.ModTime().After(last) {
			continue
		}
		if err := removeAll(log); err != nil {
			a.log.Warn("an old log of libvirt cannot be removed; retrying in an hour", "file", log, "error", err)
		}
	}
}

func (a *Agent) podDir(id uuid.UUID) string {
	return filepath.Join(a.cfg.StateDir, "pods", id.String())
}

func (a *Agent) podDirs() ([]uuid.UUID, error) {
	entries, err := os.ReadDir(filepath.Join(a.cfg.StateDir, "pods"))
	if err != nil {
		return nil, fmt.Errorf("list pods' directories: %w", err)
	}
	ids := []uuid.UUID{}
	for _, e := range entries {
		if id, err := uuid.Parse(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
