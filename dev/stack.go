// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"husk/dev/balance"
	"husk/dev/fabric"
	"husk/dev/host"
)

// Parts is a set of services that a stack can run.
type Parts uint

// The parts of a stack.
const (
	Postgres Parts = 1 << iota
	Ceph
	Libvirt
	Registry
	OVN // the databases of networks, and northd
	OVS // Open vSwitch and ovn-controller on this machine; hosts have their own

	// Default is what huskd needs.
	Default = Postgres | Ceph | Libvirt | OVN | OVS
)

// Config says what to run and where. The zero value of every field except StateDir means its
// default.
type Config struct {
	StateDir string
	Parts    Parts // Default

	// Databases is the number of databases of a fleet: with more than one, a primary and standbys on hosts of their own (patroni.go).
	Databases int

	// Centrals is the number of central hosts of a fleet: with more than one, OVN's databases are clusters on hosts of their own (ovncluster.go).
	Centrals int

	PostgresPort   int // 15432
	CephMonPort    int // 3300
	RegistryPort   int // 5000
	SouthboundPort int // 16642: OVN's southbound database

	// AwaitTLS makes OVN's databases refuse everybody on the network until [Stack.SecureOVN]. By default, they trust everybody.
	AwaitTLS bool

	// OVNDir has the programs of Open vSwitch and OVN in bin and their schemas in share, as deps.sh unpacks them. Without it, those of the system
	// are used.
	OVNDir string

	// Fabric is the range of the network that connects the hosts of a fleet (hosts.go). If it is set, Ceph
	// listens there and not on loopback, and Postgres also there. It has at least 256 addresses.
	Fabric netip.Prefix

	// Overlay is the range of the tunnels between the nodes of a fleet. It has at least 256 addresses.
	Overlay netip.Prefix

	// Provider is the range of the network outside of tenants' networks, which pods reach through their routers, and in which
	// floating addresses are (fabric/provider.go). Without it, there is none.
	Provider netip.Prefix

	// Ingress is the range of addresses behind the provider network at which ingress processes on this machine reach services. It needs Provider.
	Ingress netip.Prefix

	// OSDSizeBytes is the size of the sparse file of the OSD, 20 GiB by default. It only matters at
	// the first start.
	OSDSizeBytes int64

	// RegistryUser and RegistryPassword, if set, are the credentials that the registry requires.
	RegistryUser, RegistryPassword string

	// Throwaway is for tests that delete the data anyway: no fsync in Postgres, no ceph-mgr, and
	// children are killed at once instead of stopped.
	Throwaway bool

	// Progress is called for each step, possibly from several goroutines. See Lines.
	Progress func(Step)
}

func (c Config) withDefaults() Config {
	c.Parts = cmp.Or(c.Parts, Default)
	c.PostgresPort = cmp.Or(c.PostgresPort, 15432)
	c.CephMonPort = cmp.Or(c.CephMonPort, 3300)
	c.RegistryPort = cmp.Or(c.RegistryPort, 5000)
	c.SouthboundPort = cmp.Or(c.SouthboundPort, 16642)
	c.OSDSizeBytes = cmp.Or(c.OSDSizeBytes, 20<<30)
	if c.Progress == nil {
		c.Progress = func(Step) {}
	}
	return c
}

// Stack is a set of running daemons.
type Stack struct {
	cfg    Config
	dir    *stateDir
	forker *host.Forker
	parts  []*part

	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{}
	err      error // of stopping; read after done

	fabric   *fabric.Fabric   // nil without hosts
	provider *fabric.Provider // nil without a provider network

	mu        sync.Mutex
	secured   bool // OVN's databases require certificates
	programs  []*child
	children  map[string]*child // all, by name
	hosts     []*Host
	balancers []*balance.Balancer
	stopping  bool // start no further programs or hosts

	rolePassword string
}

// part is one service of the stack, and its daemons in the order of their start.
type part struct {
	name     string
	check    func() error // fast: binaries and ports
	start    func(ctx context.Context, p *part) (detail string, err error)
	children []*child
	cleanUp  func(context.Context) error // after the children have stopped; may be nil
}

func (p *part) shutdown() {
	for _, v := range slices.Backward(p.children) {
		v.shutdown()
	}
	p.children = nil
}

// Start starts the parts, independent ones in parallel, and returns when all are ready. The stack
// runs until ctx ends or Stop is called. If Start returns an error, no part of the stack is running.
//
// It returns *InUseError if another process holds the state directory.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	cfg = cfg.withDefaults()
	if cfg.OVNDir != "" {
		path, err := filepath.Abs(cfg.OVNDir)
		if err != nil {
			return nil, err
		}
		cfg.OVNDir = path
	}
	dir, err := openStateDir(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Stack{cfg: cfg, dir: dir, forker: host.NewForker(), children: map[string]*child{}, stop: make(chan struct{}), done: make(chan struct{})}
	if err := s.up(ctx); err != nil {
		return nil, errors.Join(err, s.down())
	}
	go s.waitAndStop(ctx)
	return s, nil
}

func (s *Stack) up(ctx context.Context) error {
	ended, err := endLeftovers(s.dir.path)
	if len(ended) > 0 {
		s.step(Step{Name: "dev", Kind: StepNote, Detail: "ended processes of an earlier run: " + strings.Join(ended, ", ")})
	}
	if err != nil {
		return err
	}
	if err := s.makeNetworks(); err != nil {
		return err
	}
	postgres := s.postgres
	if s.cfg.Databases > 1 {
		postgres = s.patroni
	}
	for _, known := range []struct {
		bits Parts
		part func() *part
	}{{Postgres, postgres}, {Ceph, s.ceph}, {Libvirt, s.libvirt}, {Registry, s.registry}, {OVN | OVS, s.ovn}} {
		if s.cfg.Parts&known.bits != 0 {
			s.parts = append(s.parts, known.part())
		}
	}
	// Report everything that is missing at once, before anything starts.
	var missing []error
	for _, p := range s.parts {
		missing = append(missing, p.check())
	}
	if err := errors.Join(missing...); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range s.parts {
		group.Go(func() error {
			began := time.Now()
			s.step(Step{Name: p.name, Kind: StepStarting})
			detail, err := p.start(ctx, p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			s.step(Step{Name: p.name, Kind: StepReady, Took: time.Since(began), Detail: detail})
			return nil
		})
	}
	return group.Wait()
}

// waitAndStop waits for the reason to stop, and stops.
func (s *Stack) waitAndStop(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.stop:
	}
	s.err = s.down()
	close(s.done)
}

// SetUp records that everything is up, including what the caller runs next to the stack. See [Holder].
func (s *Stack) SetUp() error { return s.dir.mark(markUp) }

// down stops the programs, then the parts in parallel, each from its last child to its first.
func (s *Stack) down() error {
	unmarked := s.dir.mark(markNotUp)
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	left := s.stopHosts()
	s.stopPrograms()
	var wg sync.WaitGroup
	for _, p := range s.parts {
		if len(p.children) == 0 {
			continue
		}
		wg.Go(func() {
			began := time.Now()
			s.step(Step{Name: p.name, Kind: StepStopping})
			p.shutdown()
			s.step(Step{Name: p.name, Kind: StepStopped, Took: time.Since(began)})
		})
	}
	wg.Wait()
	for _, p := range s.parts {
		if p.cleanUp != nil {
			left = errors.Join(left, p.cleanUp(context.Background()))
		}
	}
	left = errors.Join(left, s.closeNetworks())
	s.forker.Close()
	return errors.Join(unmarked, left, s.dir.close())
}

// Stop stops everything and returns when nothing is running any more or ctx ends.
func (s *Stack) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { close(s.stop) })
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when everything has stopped.
func (s *Stack) Done() <-chan struct{} { return s.done }

// StateDir returns the absolute path of the state directory.
func (s *Stack) StateDir() string { return s.dir.path }

func (s *Stack) step(step Step) { s.cfg.Progress(step) }

// spawnIn starts a daemon as the next child of a part.
func (s *Stack) spawnIn(ctx context.Context, p *part, sp spec, timeout time.Duration, probe func(context.Context) error) error {
	return s.spawnAs(ctx, &p.children, sp, timeout, probe)
}

// spawnAs starts a daemon as the next of some children.
func (s *Stack) spawnAs(ctx context.Context, children *[]*child, sp spec, timeout time.Duration, probe func(context.Context) error) error {
	if s.cfg.Throwaway {
		sp.signal = syscall.SIGKILL
	}
	c, err := s.spawn(ctx, sp, timeout, probe)
	if err == nil {
		*children = append(*children, c)
	}
	return err
}

func (s *Stack) track(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children[c.name] = c
}

func (s *Stack) untrack(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children[c.name] == c {
		delete(s.children, c.name)
	}
}
