// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"husk/dev/fabric"
)

// HostState says what happens in a host.
type HostState string

// The states of a host.
const (
	HostOn     HostState = "on"
	HostFrozen HostState = "frozen"
	HostOff    HostState = "off"
)

// Kill takes the host's power away: every process ends at once, and its memory, network and files in /run are lost. Start switches
// it on again.
func (h *Host) Kill() error {
	h.power.Lock()
	defer h.power.Unlock()
	if h.running() == nil {
		return fmt.Errorf("host %s is off already", h.Name)
	}
	err := h.off(true)
	h.stack.step(Step{Name: h.Name, Kind: StepNote, Detail: "killed"})
	return err
}

// Freeze stops every process of the host until Thaw, as if the whole machine hung. Only its kernel still answers.
func (h *Host) Freeze() error { return h.setFrozen(true) }

// Thaw continues all processes that were stopped in the host.
func (h *Host) Thaw() error { return h.setFrozen(false) }

func (h *Host) setFrozen(frozen bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on == nil {
		return fmt.Errorf("host %s is off", h.Name)
	}
	do, note := h.on.Freeze, "frozen"
	if !frozen {
		do, note = h.on.Thaw, "thawed"
	}
	if h.frozen != frozen {
		h.stack.step(Step{Name: h.Name, Kind: StepNote, Detail: note})
	}
	h.frozen = frozen
	return do()
}

// Whom a host can be cut off from, in addition to a single host.
const (
	FromAll      = "all"
	FromServers  = "server" // from the servers and their load balancer
	FromNodes    = "node"
	FromCeph     = "ceph"
	FromDatabase = "database"
	FromOVN      = "ovn" // from OVN's databases
)

// Cut drops the packets between the host and others, in one direction or both, in addition to earlier cuts.
func (h *Host) Cut(from string, direction fabric.Direction) error {
	if !slices.Contains(fabric.Directions, direction) {
		return fmt.Errorf("direction %q is not in, out or both", direction)
	}
	addrs, err := h.stack.addrsOf(from)
	if err != nil {
		return err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return a == h.Addr || a == h.Overlay })
	if len(addrs) == 0 && from != FromAll {
		return fmt.Errorf("there is nothing to cut host %s off from: no other %s", h.Name, from)
	}
	h.stack.step(Step{Name: h.Name, Kind: StepNote, Detail: fmt.Sprintf("cut off from %s, direction %s", from, direction)})
	return h.stack.fabric.Cut(h.Name, fabric.Cut{Name: from, From: addrs, Direction: direction})
}

// Heal undoes all cuts of the host.
func (h *Host) Heal() error {
	h.stack.step(Step{Name: h.Name, Kind: StepNote, Detail: "healed"})
	return h.stack.fabric.Heal(h.Name)
}

func (s *Stack) addrsOf(from string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	kind := HostKind("")
	switch from {
	case FromAll:
		return nil, nil
	case FromCeph:
		return []netip.Addr{s.cephAddr()}, nil
	case FromOVN:
		addrs, kind = []netip.Addr{s.serviceAddr(ovnNumber)}, CentralHost
	case FromDatabase:
		addrs, kind = []netip.Addr{s.postgresAddr()}, DatabaseHost
	case FromServers:
		addrs, kind = []netip.Addr{s.EntryAddr()}, ServerHost
	case FromNodes:
		kind = NodeHost
	}
	for _, h := range s.Hosts() {
		if h.Kind == kind || h.Name == from {
			addrs = append(addrs, h.Addr)
			if h.Overlay.IsValid() {
				addrs = append(addrs, h.Overlay)
			}
		}
	}
	if kind == "" && len(addrs) == 0 {
		return nil, fmt.Errorf("%q is none of %s, and no host has this name", from, strings.Join([]string{FromAll, FromServers, FromNodes, FromCeph, FromDatabase, FromOVN}, ", "))
	}
	return addrs, nil
}

// State returns the host's state and its cuts.
func (h *Host) State() (HostState, []fabric.Cut) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.on == nil:
		return HostOff, nil
	case h.frozen:
		return HostFrozen, h.stack.fabric.Cuts(h.Name)
	default:
		return HostOn, h.stack.fabric.Cuts(h.Name)
	}
}

// Process is a process of the stack. The process of a pod's machine is named qemu-POD; in a host, the name of
// the host comes first, as in n1-agent.
type Process struct {
	Name string
	PID  int
	Host string // empty: this machine
}

// Processes returns the daemons and programs of the stack, and everything that runs in its hosts.
func (s *Stack) Processes() ([]Process, error) {
	var all []Process
	known := map[int]bool{}
	s.mu.Lock()
	for name, c := range s.children {
		p := Process{Name: name, PID: int(c.pid.Load())}
		if c.host != nil {
			p.Host = c.host.Name
		}
		known[p.PID] = true
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, h := range s.Hosts() {
		on := h.running()
		if on == nil {
			continue
		}
		ids, err := on.Processes()
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if name := processName(id); name != "" && !known[id] && id != on.PID() {
				all = append(all, Process{Name: h.prefix() + name, PID: id, Host: h.Name})
			}
		}
	}
	slices.SortFunc(all, func(a, b Process) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

var qemuOfPod = regexp.MustCompile(`guest=husk-([0-9a-f-]{36})`)

// processName returns an empty name for a process that has ended.
func processName(id int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id))
	args := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	if err != nil || args[0] == "" {
		return ""
	}
	if pod := qemuOfPod.FindStringSubmatch(string(raw)); pod != nil {
		return "qemu-" + pod[1]
	}
	program := args[0][strings.LastIndexByte(args[0], '/')+1:]
	if program == "huskd" && len(args) > 1 { // such as the agent's watchdog
		return args[1]
	}
	return program
}

// Fault is what can be done to a process.
type Fault string

// The faults of a process.
const (
	FaultKill    Fault = "kill" // with SIGKILL; a daemon is restarted
	FaultHold    Fault = "hold" // with SIGKILL; a daemon is restarted only after FaultRelease
	FaultRelease Fault = "release"
	FaultFreeze  Fault = "freeze" // with SIGSTOP
	FaultThaw    Fault = "thaw"
)

// Provoke does something to the process with this name.
func (s *Stack) Provoke(name string, fault Fault) error {
	s.mu.Lock()
	c := s.children[name]
	s.mu.Unlock()
	var sig syscall.Signal
	switch fault {
	case FaultKill:
		sig = syscall.SIGKILL
	case FaultHold, FaultRelease:
		if c == nil {
			return fmt.Errorf("%s is not a daemon of the stack, so nothing restarts it", name)
		}
		if fault == FaultRelease {
			c.hold.release()
			return nil
		}
		c.hold.set()
		sig = syscall.SIGKILL
	case FaultFreeze:
		sig = syscall.SIGSTOP
	case FaultThaw:
		sig = syscall.SIGCONT
	default:
		return fmt.Errorf("%q is not a fault of a process", fault)
	}
	p, err := s.process(name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(p.PID, sig); err != nil {
		return fmt.Errorf("%s %s: %w", fault, name, err)
	}
	return nil
}

func (s *Stack) process(name string) (Process, error) {
	all, err := s.Processes()
	if err != nil {
		return Process{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Process{}, errors.New("no process of the stack is named " + name)
}
