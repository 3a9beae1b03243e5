// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk/dev/balance"
	"husk/dev/fabric"
	"husk/dev/host"
)

// HostKind says what a host is for.
type HostKind string

// The kinds of hosts, in the order in which they are stopped.
const (
	NodeHost     HostKind = "node"
	ServerHost   HostKind = "server"
	CentralHost  HostKind = "central"
	DatabaseHost HostKind = "database"
)

// HostConfig describes a host of a fleet.
type HostConfig struct {
	Name    string
	Kind    HostKind
	Addr    netip.Addr // on the fabric
	Overlay netip.Addr // of tunnels; only nodes have one
	// Boot starts the host's daemons and programs, each time the host is switched on.
	Boot func(context.Context, *Host) error
}

// Host is a computer of a fleet, with namespaces of its own (package host). Package dev uses a nil Host for this machine itself.
type Host struct {
	HostConfig

	stack *Stack
	power sync.Mutex // held while the host is switched on or off

	mu       sync.Mutex
	on       *host.Host // nil: off
	frozen   bool
	children []*child
	forwards []*balance.Balancer
}

// The addresses on the fabric: of this machine, and of hosts.
const (
	entryNumber    = 1 // the load balancers
	cephNumber     = 2
	postgresNumber = 3
	firstDatabase  = 4
	ovnNumber      = 9
	firstServer    = 11
	firstCentral   = 21
	firstNode      = 101

	// MaxDatabases, MaxServers, MaxCentrals and MaxNodes are how many addresses there are.
	MaxDatabases = 5
	MaxCentrals  = 5
	MaxServers   = 9
	MaxNodes     = 99
)

func (s *Stack) fabricAddr(n int) netip.Addr { return nth(s.cfg.Fabric, n) }

// nth returns the address with this number in a range.
func nth(p netip.Prefix, n int) netip.Addr {
	addr := p.Masked().Addr()
	for range n {
		addr = addr.Next()
	}
	return addr
}

// EntryAddr returns the address on the fabric at which this machine's load balancers listen.
func (s *Stack) EntryAddr() netip.Addr { return s.fabricAddr(entryNumber) }

// ServerAddr returns the address of the server with this number, counted from 0.
func (s *Stack) ServerAddr(i int) netip.Addr { return s.fabricAddr(firstServer + i) }

// NodeAddr returns the address of the node with this number, counted from 0.
func (s *Stack) NodeAddr(i int) netip.Addr { return s.fabricAddr(firstNode + i) }

func (s *Stack) databaseAddr(i int) netip.Addr { return s.fabricAddr(firstDatabase + i) }

func (s *Stack) cephAddr() netip.Addr { return s.serviceAddr(cephNumber) }

func (s *Stack) postgresAddr() netip.Addr { return s.serviceAddr(postgresNumber) }

func (s *Stack) serviceAddr(n int) netip.Addr {
	if s.cfg.Fabric.IsValid() {
		return s.fabricAddr(n)
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// ID distinguishes the interfaces and cgroups of the stack in a state directory from those of other stacks on the machine.
func ID(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return hex.EncodeToString(sum[:3])
}

func (s *Stack) id() string { return ID(s.dir.path) }

func (s *Stack) makeNetworks() (err error) {
	owner := fabric.Owner{ID: s.id(), StateDir: s.dir.path}
	if s.cfg.Fabric.IsValid() || s.cfg.Provider.IsValid() {
		err := fabric.RemoveAbandoned(func(dir string) bool {
			pid, _ := Holder(dir)
			return pid != 0
		})
		if err != nil {
			return fmt.Errorf("remove the networks of killed stacks: %w", err)
		}
	}
	if s.cfg.Fabric.IsValid() {
		if s.fabric, err = fabric.New(owner, s.cfg.Fabric, s.EntryAddr(), s.cephAddr(), s.postgresAddr(), s.serviceAddr(ovnNumber)); err != nil {
			return err
		}
	}
	if s.cfg.Provider.IsValid() {
		s.provider, err = fabric.NewProvider(owner, s.cfg.Provider)
	}
	if err == nil && s.provider != nil && s.cfg.Ingress.IsValid() {
		err = s.provider.Route(s.cfg.Ingress)
	}
	return err
}

// closeNetworks ends everything between the hosts, after they have stopped.
func (s *Stack) closeNetworks() error {
	var err error
	for _, b := range s.balancers {
		err = errors.Join(err, b.Close())
	}
	if s.fabric != nil {
		err = errors.Join(err, s.removeFabric())
	}
	if s.provider != nil {
		err = errors.Join(err, s.provider.Close())
	}
	return err
}

// removeFabric also removes what a killed predecessor left.
func (s *Stack) removeFabric() error {
	return errors.Join(fabric.Remove(s.id()), host.RemoveGroups(s.cgroup()))
}

func (s *Stack) cgroup() string { return "husk-dev-" + s.id() }

// Balance passes connections to an address of this machine on to backends, until the stack stops.
func (s *Stack) Balance(addr string, backends ...balance.Backend) error {
	listener, err := net.Listen("tcp", addr) //nolint:noctx // it does not wait
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.balancers = append(s.balancers, balance.New(listener, backends...))
	return nil
}

// AddHost adds a host to the fleet and switches it on.
func (s *Stack) AddHost(ctx context.Context, cfg HostConfig) (*Host, error) {
	h := &Host{HostConfig: cfg, stack: s}
	s.mu.Lock()
	s.hosts = append(s.hosts, h)
	s.mu.Unlock()
	return h, h.Start(ctx)
}

// Hosts returns the hosts of the fleet, in the order of their addresses.
func (s *Stack) Hosts() []*Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(slices.Values(s.hosts), func(a, b *Host) int { return a.Addr.Compare(b.Addr) })
}

// stopHosts stops the hosts, all of one kind at the same time.
func (s *Stack) stopHosts() error {
	var mu sync.Mutex
	var failures []error
	for _, kind := range []HostKind{NodeHost, ServerHost, CentralHost, DatabaseHost} {
		var stopping sync.WaitGroup
		for _, h := range s.Hosts() {
			if h.Kind == kind {
				stopping.Go(func() {
					if err := h.shutdown(); err != nil {
						mu.Lock()
						failures = append(failures, err)
						mu.Unlock()
					}
				})
			}
		}
		stopping.Wait()
	}
	return errors.Join(failures...)
}

// Start switches the host on and returns when its programs are ready.
func (h *Host) Start(ctx context.Context) error {
	h.power.Lock()
	defer h.power.Unlock()
	if h.running() != nil {
		return fmt.Errorf("host %s is on already", h.Name)
	}
	h.stack.mu.Lock()
	stopping := h.stack.stopping
	h.stack.mu.Unlock()
	if stopping {
		return errors.New("the stack is stopping")
	}
	began := time.Now()
	h.stack.step(Step{Name: h.Name, Kind: StepStarting})
	if err := h.boot(ctx); err != nil {
		return errors.Join(fmt.Errorf("host %s: %w", h.Name, err), h.off(false))
	}
	h.stack.step(Step{Name: h.Name, Kind: StepReady, Took: time.Since(began), Detail: "at " + h.Addr.String()})
	return nil
}

func (h *Host) boot(ctx context.Context) error {
	binds := map[string]string{"/var/lib/libvirt": "libvirt", "/var/log/libvirt": "log"}
	for dir, name := range binds {
		name = "hosts/" + h.Name + "/" + name
		if err := errors.Join(h.stack.dir.mkdir("hosts", 0o711), h.stack.dir.mkdir("hosts/"+h.Name, 0o711), h.stack.dir.mkdir(name, 0o755)); err != nil {
			return err
		}
		binds[dir] = h.stack.dir.join(name)
	}
	if strings.HasPrefix(h.stack.dir.path, "/run/") {
		return errors.New("the state directory of a fleet cannot be below /run, because every host has its own /run; pass another --state-dir")
	}
	on, err := host.Start(h.stack.forker.Start, host.Config{
		Name: h.Name, Binds: binds, Temporary: []string{"/run", "/var/cache/libvirt"}, Cgroup: h.stack.cgroup() + "/" + h.Name,
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.on = on
	h.mu.Unlock()
	if err := h.stack.fabric.Connect(h.Name, on, h.Addr); err != nil {
		return err
	}
	return h.Boot(ctx, h)
}

// Libvirt starts the host's own libvirt.
func (h *Host) Libvirt(ctx context.Context) error {
	tools, err := findLibvirt()
	if err != nil {
		return err
	}
	if err := h.libvirtDirs(); err != nil {
		return err
	}
	// Libvirt refuses to migrate between hosts with the same UUID, and by default it takes the one of this machine.
	conf := h.stack.dir.join("hosts", h.Name, "libvirtd.conf")
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(h.stack.dir.path+"/"+h.Name))
	if err := os.WriteFile(conf, fmt.Appendf(nil, "host_uuid = %q\n", id), 0o600); err != nil {
		return err
	}
	var children []*child
	err = h.stack.startLibvirt(ctx, tools, h, &children, "--config", conf)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children = append(h.children, children...)
	return err
}

// libvirtDirs makes the directories that Debian's package makes, with its owners and modes.
func (h *Host) libvirtDirs() error {
	qemu, err := user.Lookup("libvirt-qemu")
	if err != nil {
		return fmt.Errorf("%w: apt-get install libvirt-daemon-system creates the user", err)
	}
	uid, err1 := strconv.Atoi(qemu.Uid)
	gid, err2 := strconv.Atoi(qemu.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, dir := range []string{"qemu", "qemu/channel", "qemu/channel/target"} {
		path := "hosts/" + h.Name + "/libvirt/" + dir
		if err := errors.Join(h.stack.dir.mkdir(path, 0o750), os.Chown(h.stack.dir.join(path), uid, gid)); err != nil {
			return err
		}
	}
	return nil
}

// Run starts a program in the host, waits until it is ready and supervises it.
func (h *Host) Run(ctx context.Context, p Program) error {
	c, err := h.stack.runProgram(ctx, p, h)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children = append(h.children, c)
	return nil
}

// Forward passes connections to an address of the host on to an address of this machine.
func (h *Host) Forward(addr, to string) error {
	on := h.running()
	if on == nil {
		return fmt.Errorf("host %s is off", h.Name)
	}
	var listener net.Listener
	err := on.Do(func() (err error) {
		listener, err = net.Listen("tcp", addr) //nolint:noctx // it does not wait
		return err
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forwards = append(h.forwards, balance.New(listener, balance.Backend{Addr: to}))
	return nil
}

// Dir returns a directory that keeps its content while the host is off.
func (h *Host) Dir() string { return h.stack.dir.join("hosts", h.Name) }

// LibvirtURI returns the URI under which this process reaches the host's libvirt.
func (h *Host) LibvirtURI() string {
	if h == nil {
		return libvirtURI
	}
	return "qemu+unix:///system?socket=" + h.path(libvirtSocket)
}

// PID returns the process ID of the host's process 1, or 0 if it is off.
func (h *Host) PID() int {
	if on := h.running(); on != nil {
		return on.PID()
	}
	return 0
}

// prefix begins the names of the host's children.
func (h *Host) prefix() string {
	if h == nil {
		return ""
	}
	return h.Name + "-"
}

// path returns the path under which this process reaches a file of the host.
func (h *Host) path(name string) string {
	if h == nil {
		return name
	}
	on := h.running()
	if on == nil {
		return "/nonexistent" + name
	}
	return on.Path(name)
}

func (h *Host) running() *host.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on
}

func (h *Host) fork(cmd *exec.Cmd) error {
	on := h.running()
	if on == nil {
		return fmt.Errorf("host %s is off", h.Name)
	}
	return on.Fork(cmd)
}

// shutdown stops the host in order.
func (h *Host) shutdown() error {
	h.power.Lock()
	defer h.power.Unlock()
	if h.running() == nil {
		return nil
	}
	began := time.Now()
	h.stack.step(Step{Name: h.Name, Kind: StepStopping})
	err := errors.Join(h.stack.fabric.Heal(h.Name), h.Thaw(), h.off(false))
	h.stack.step(Step{Name: h.Name, Kind: StepStopped, Took: time.Since(began)})
	return err
}

// off ends everything in the host: in order, or at once if the power is lost. The caller holds power.
func (h *Host) off(lost bool) error {
	h.mu.Lock()
	on, children, forwards := h.on, h.children, h.forwards
	h.children, h.forwards = nil, nil
	h.mu.Unlock()
	if on == nil {
		return nil
	}
	var err error
	if lost {
		for _, c := range children {
			c.lost.Store(true)
		}
		// First the network: the kernel closes the connections of a process that is killed, and a machine without power cannot.
		err = errors.Join(h.stack.fabric.Disconnect(h.Name), on.Kill())
		var ending sync.WaitGroup
		for _, c := range children {
			ending.Go(c.shutdown)
		}
		ending.Wait()
	} else {
		for _, c := range children {
			c.hold.release()
		}
		h.stack.stopChildren(children)
	}
	for _, f := range forwards {
		err = errors.Join(err, f.Close())
	}
	err = errors.Join(err, on.Close(), h.stack.fabric.Disconnect(h.Name))
	h.mu.Lock()
	h.on, h.frozen = nil, false
	h.mu.Unlock()
	return err
}
