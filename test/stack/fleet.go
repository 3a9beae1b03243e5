// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/dev"
	"husk/dev/control"
	"husk/dev/fabric"
	"husk/openapi"
	"husk/test/pace"
)

// Fleet is an installation with several nodes and servers, each on a host of its own (package dev/host), and with
// verbs that provoke faults. What a test breaks is repaired when the test ends, before its objects are deleted.
type Fleet struct {
	*Stack
	control *control.Client

	remedies map[string]dev.Fault // what repairs a process, by its name
}

// fleetServers is the number of servers of a fleet.
const fleetServers = 2

// StartFleet starts a fleet with nodes n1, n2, … and servers s1 and s2. It ends with the test, which then fails if it has left
// anything behind. Further arguments are passed to huskd dev.
func StartFleet(t testing.TB, nodes int, args ...string) *Fleet {
	t.Helper()
	s, err := start(lease, append([]string{"--nodes", fmt.Sprint(nodes), "--servers", fmt.Sprint(fleetServers)}, args...)...)
	if err != nil {
		t.Fatalf("start a fleet: %v", err)
	}
	f := &Fleet{Stack: s, control: control.NewClient(s.stateDir()), remedies: map[string]dev.Fault{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.LogEnd("dev.log"))
		}
		f.repairAfter(t)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// NewTenant creates a tenant. When the test ends, the fleet is repaired, and the tenant is deleted with all its objects.
func (f *Fleet) NewTenant(t testing.TB) *Tenant {
	t.Helper()
	tn := f.Stack.NewTenant(t)
	t.Cleanup(func() { f.repairAfter(t) })
	return tn
}

// Repaired undoes all faults and waits until all nodes are Ready.
func (f *Fleet) Repaired(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pace.Limit(2*time.Minute))
	defer cancel()
	if err := f.repair(ctx); err != nil {
		t.Fatalf("repair the fleet: %v", err)
	}
}

// repairAfter repairs the fleet after a test.
func (f *Fleet) repairAfter(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(2*time.Minute))
	defer cancel()
	if err := f.repair(ctx); err != nil {
		t.Errorf("repair the fleet: %v", err)
	}
}

// repair undoes all faults and waits until all nodes are Ready.
func (f *Fleet) repair(ctx context.Context) error {
	hosts, err := f.control.Hosts(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if len(h.Cuts) > 0 {
			err = errors.Join(err, f.control.Heal(ctx, h.Name))
		}
		if h.State == dev.HostFrozen {
			err = errors.Join(err, f.control.Thaw(ctx, h.Name))
		}
	}
	for process, remedy := range f.remedies {
		_ = f.control.Provoke(ctx, process, remedy) // it may have ended
	}
	clear(f.remedies)
	for _, h := range hosts {
		if h.State == dev.HostOff {
			err = errors.Join(err, f.control.Start(ctx, h.Name))
		}
	}
	return errors.Join(err, Until(ctx, func() error { return f.allReady(ctx) }))
}

func (f *Fleet) allReady(ctx context.Context) error {
	nodes, err := f.Operator.Nodes.List(ctx)
	for _, n := range nodes {
		if n.State != openapi.NodeStateReady {
			err = errors.Join(err, fmt.Errorf("node %s is %s", n.Name, n.State))
		}
	}
	return err
}

// Host is a node or a server of a fleet.
type Host struct {
	*Fleet
	Name string
}

// Node returns the node with this number, counted from 1.
func (f *Fleet) Node(i int) *Host { return &Host{f, fmt.Sprintf("n%d", i)} }

// Server returns the server with this number, counted from 1.
func (f *Fleet) Server(i int) *Host { return &Host{f, fmt.Sprintf("s%d", i)} }

// NodeOf returns the node on which a pod's machine runs. If it runs on several nodes, or on none, the test fails.
func (f *Fleet) NodeOf(t testing.TB, pod uuid.UUID) *Host {
	t.Helper()
	nodes := f.NodesOf(t, pod)
	if len(nodes) != 1 {
		t.Fatalf("pod %s has machines on the nodes %v, not on one", pod, nodes)
	}
	return &Host{f, nodes[0]}
}

// NodesOf returns the names of all nodes on which a process of a pod's machine exists.
func (f *Fleet) NodesOf(t testing.TB, pod uuid.UUID) []string {
	t.Helper()
	all, err := f.control.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, p := range all {
		if strings.HasSuffix(p.Name, "-qemu-"+pod.String()) {
			nodes = append(nodes, p.Host)
		}
	}
	return nodes
}

// State returns the server's view of a node.
func (h *Host) State(ctx context.Context) (openapi.NodeState, error) {
	node, err := h.Operator.Nodes.Find(ctx, h.Name)
	return node.State, err
}

// Down are the states of a node that does not respond. How far the server has come with it is a matter of time.
var Down = []openapi.NodeState{openapi.NodeStateLost, openapi.NodeStateFencing, openapi.NodeStateFenced}

// Await waits until the server considers a node to be in one of these states.
func (h *Host) Await(t testing.TB, want ...openapi.NodeState) {
	t.Helper()
	Eventually(t, time.Minute, func() error {
		got, err := h.State(t.Context())
		if err == nil && !slices.Contains(want, got) {
			err = fmt.Errorf("node %s is %s, not %v", h.Name, got, want)
		}
		return err
	})
}

func (h *Host) do(t testing.TB, what string, f func(context.Context, string) error) {
	t.Helper()
	t.Logf("%s %s", what, h.Name)
	if err := f(t.Context(), h.Name); err != nil {
		t.Fatalf("%s %s: %v", what, h.Name, err)
	}
}

// Kill takes the host's power away: all its processes end at once, and no connection is closed.
func (h *Host) Kill(t testing.TB) { t.Helper(); h.do(t, "kill", h.control.Kill) }

// Start switches the host on again, and waits until its agent or server is ready.
func (h *Host) Start(t testing.TB) { t.Helper(); h.do(t, "start", h.control.Start) }

// Freeze stops all processes of the host with SIGSTOP.
func (h *Host) Freeze(t testing.TB) { t.Helper(); h.do(t, "freeze", h.control.Freeze) }

// Thaw continues all processes of the host.
func (h *Host) Thaw(t testing.TB) { t.Helper(); h.do(t, "thaw", h.control.Thaw) }

// Cut drops the packets between the host and others (dev.FromAll and so on, or the name of a host), in addition to earlier cuts.
func (h *Host) Cut(t testing.TB, from string, direction fabric.Direction) {
	t.Helper()
	h.do(t, fmt.Sprintf("cut off from %s, direction %s:", from, direction), func(ctx context.Context, name string) error {
		return h.control.Cut(ctx, name, from, direction)
	})
}

// Heal undoes all cuts of the host.
func (h *Host) Heal(t testing.TB) { t.Helper(); h.do(t, "heal", h.control.Heal) }

// Process is a process of a fleet.
type Process struct {
	*Fleet
	Name string
}

// Process returns a process of this machine: ceph-mon, ceph-osd, postgres or registry.
func (f *Fleet) Process(name string) *Process { return &Process{f, name} }

// Process returns a process of the host: agent, watchdog, libvirtd, virtlogd or server.
func (h *Host) Process(name string) *Process { return &Process{h.Fleet, h.Name + "-" + name} }

// QEMU returns the process of a pod's machine on the node.
func (h *Host) QEMU(pod uuid.UUID) *Process { return h.Process("qemu-" + pod.String()) }

// PID returns the process ID, or 0 if the process does not exist.
func (p *Process) PID(t testing.TB) int {
	t.Helper()
	all, err := p.control.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.Name == p.Name {
			return one.PID
		}
	}
	return 0
}

func (p *Process) do(t testing.TB, fault, remedy dev.Fault) {
	t.Helper()
	t.Logf("%s %s", fault, p.Name)
	if err := p.control.Provoke(t.Context(), p.Name, fault); err != nil {
		t.Fatal(err)
	}
	delete(p.remedies, p.Name)
	if remedy != "" {
		p.remedies[p.Name] = remedy
	}
}

// Kill kills the process with SIGKILL. A daemon is restarted soon.
func (p *Process) Kill(t testing.TB) { t.Helper(); p.do(t, dev.FaultKill, "") }

// Hold kills a daemon, which is restarted only after Release.
func (p *Process) Hold(t testing.TB) { t.Helper(); p.do(t, dev.FaultHold, dev.FaultRelease) }

// Release undoes Hold.
func (p *Process) Release(t testing.TB) { t.Helper(); p.do(t, dev.FaultRelease, "") }

// Freeze stops the process with SIGSTOP.
func (p *Process) Freeze(t testing.TB) { t.Helper(); p.do(t, dev.FaultFreeze, dev.FaultThaw) }

// Thaw continues the process.
func (p *Process) Thaw(t testing.TB) { t.Helper(); p.do(t, dev.FaultThaw, "") }

// Host returns the host with this name.
func (f *Fleet) Host(name string) *Host { return &Host{f, name} }

// Database returns the database with this number, counted from 1, of a fleet that was started with --databases.
func (f *Fleet) Database(i int) *Host { return &Host{f, fmt.Sprintf("db%d", i)} }

// Central returns the central host with this number, counted from 1, of a fleet that was started with --centrals.
func (f *Fleet) Central(i int) *Host { return &Host{f, fmt.Sprintf("c%d", i)} }

// Primary returns the database that is the primary now, and an error if there is none.
func (f *Fleet) Primary(ctx context.Context) (*Host, error) { return f.databaseThatIs(ctx, "primary") }

// Synchronous returns the standby that has everything that the primary has acknowledged.
func (f *Fleet) Synchronous(ctx context.Context) (*Host, error) {
	return f.databaseThatIs(ctx, "synchronous")
}

func (f *Fleet) databaseThatIs(ctx context.Context, role string) (*Host, error) {
	hosts, err := f.control.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if h.Kind == dev.DatabaseHost && h.State == dev.HostOn && dev.DatabaseIs(ctx, h.Address, role) == nil {
			return &Host{f, h.Name}, nil
		}
	}
	return nil, fmt.Errorf("no database is the %s", role)
}
