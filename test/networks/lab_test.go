// SPDX-License-Identifier: Apache-2.0

// Package networks tests the networks of pods on three nodes, without virtual machines: from Postgres through the reconciler, OVN's databases, Open
// vSwitch and the agents' taps to packets. In place of a machine, a namespace of its own is connected to the tap as QEMU is, and the test can send
// and see each frame.
package networks

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"husk"
	"husk/dev"
	"husk/dev/devtest"
	"husk/dev/host"
	agent "husk/nodeagent/network"
	"husk/server/network"
	"husk/service/address"
	"husk/store"
	"husk/store/topology"
	"husk/test/pace"
)

var manyNetworks = flag.Int("networks", 300, "how many networks BenchmarkOneMorePort makes")

func TestMain(m *testing.M) {
	beEdge()
	host.BeInit()
	devtest.Main(m)
}

// floating are the floating addresses.
var floating = address.Range{First: netip.MustParseAddr("198.18.13.150"), Last: netip.MustParseAddr("198.18.13.199")}

// lab is an installation with three nodes.
type lab struct {
	t     testing.TB
	store *store.Store
	url   devtest.URL // of the database
	stack *dev.Stack
	nodes []*node
	r     *network.Reconciler
	count int

	connected []time.Duration // how long each pod waited from its placement until OVN had connected it
}

// node is a node with the network part of its agent.
type node struct {
	lab  *lab
	id   uuid.UUID
	host *dev.Host
	net  *agent.Network
	stop func()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the installation. Each test has one of its own, because many break it.
func start(t testing.TB, limits network.Limits, change ...func(*network.Config)) *lab {
	t.Helper()
	url := devtest.PostgresFrom(t, "migrated", func(ctx context.Context, url devtest.URL) error { return store.Migrate(ctx, url(store.RoleOwner)) })
	s, err := store.Open(t.Context(), store.Config{
		URL: url(store.RoleOwner), MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("100.64.0.0/12"), NetworkPrefix: 24,
		FloatingRange: floating, Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(s.Close)
	dir, err := os.MkdirTemp("", "husk-networks-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stack, err := dev.Start(context.Background(), dev.Config{
		StateDir: filepath.Join(dir, "s"), Parts: dev.OVN, OVNDir: "../../build/ovn", Throwaway: true,
		Fabric: netip.MustParsePrefix("198.18.11.0/24"), Overlay: netip.MustParsePrefix("198.18.12.0/24"), Provider: netip.MustParsePrefix("198.18.13.0/24"),
	})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := stack.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	l := &lab{t: t, store: s, url: url, stack: stack}
	cfg := network.Config{
		Northbound: []string{stack.NorthboundRemote()}, Limits: limits, Floating: floating, Ingress: &network.Ingress{Range: network.DefaultIngressRange, Nodes: ingressAddrs},
		Egress: network.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("198.18.13.200/29"), netip.MustParsePrefix("10.77.0.0/16")}, Deny: []netip.Prefix{netip.MustParsePrefix("192.88.99.64/26"), netip.MustParsePrefix("10.77.5.0/24")}},
		Provider: &network.Provider{
			Name: "provider", Gateway: netip.PrefixFrom(outsideAddr, 24), First: netip.MustParseAddr("198.18.13.10"), Last: netip.MustParseAddr("198.18.13.149"),
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	l.r = network.New(cfg, s.Control().Topology(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.reconcile(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); l.r.Close() })
	for i := range 3 {
		l.addNode(i)
	}
	return l
}

// reconcile does what the leading server does.
func (l *lab) reconcile(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := l.r.Pass(ctx, 1)
		if err == nil && more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *lab) addNode(i int) *node {
	l.t.Helper()
	token, err := l.store.Control().CreateJoinToken(l.t.Context(), once(), time.Hour, nil)
	must(l.t, err)
	id, _, err := l.store.Control().RegisterNode(l.t.Context(), token.Secret, fmt.Sprintf("n%d", i+1), func(store.ID) (store.IssuedCertificate, error) {
		return store.IssuedCertificate{Serial: uuid.NewString(), PEM: "PEM", ExpiresAt: time.Now().Add(time.Hour)}, nil
	})
	must(l.t, err)
	_, _, err = l.store.Control().Heartbeat(l.t.Context(), store.Beat{Node: husk.Node{
		ID: id, Capacity: husk.Resources{CPUMillis: 100000, MemoryMiB: 100000}, VMMOverheadMiB: 50, Endpoint: "https://192.0.2.7:7443",
		Capabilities: append(slices.Clone(husk.AgentCapabilities), husk.CapabilityGateway),
	}})
	must(l.t, err)
	h, err := l.stack.AddHost(l.t.Context(), dev.HostConfig{
		Name: fmt.Sprintf("n%d", i+1), Kind: dev.NodeHost, Addr: l.stack.NodeAddr(i), Overlay: l.stack.OverlayAddr(i),
		Boot: func(ctx context.Context, h *dev.Host) error { return h.StartOVS(ctx) },
	})
	must(l.t, err)
	n := &node{lab: l, id: id, host: h}
	n.boot()
	l.nodes = append(l.nodes, n)
	return n
}

// boot starts the network part of the node's agent, as after a restart.
func (n *node) boot() {
	t := n.lab.t
	t.Helper()
	if n.stop != nil {
		n.stop()
	}
	n.do(func() error {
		var err error
		n.net, err = agent.New(t.Context(), agent.Config{
			Node: n.id, OVSDB: "unix:" + n.host.OVS(), Southbound: []string{n.lab.stack.SouthboundRemote()}, Overlay: n.host.Overlay,
			ProviderNetwork: "provider", ProviderBridge: dev.ProviderBridge, Log: slog.New(slog.DiscardHandler),
		})
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		_ = within(fmt.Sprintf("/proc/%d/ns/net", n.host.PID()), func() error { n.net.Watch(ctx); return nil })
	})
	this := n.net
	n.stop = sync.OnceFunc(func() { cancel(); watching.Wait(); this.Close() })
	t.Cleanup(n.stop)
}

// do calls a function in the node's network namespace.
func (n *node) do(f func() error) {
	n.lab.t.Helper()
	must(n.lab.t, within(fmt.Sprintf("/proc/%d/ns/net", n.host.PID()), f))
}

// within calls a function on a thread in a network namespace.
func within(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		ns, err := netns.GetFromPath(path)
		if err == nil {
			err = errors.Join(netns.Set(ns), ns.Close())
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func once() store.Idempotency { return store.NewIdempotency("", "test", "/v1/test", nil) }

// tenant is a tenant that can have pods.
type tenant struct {
	lab   *lab
	id    store.ID
	store store.Tenant
	image husk.Image
	cidr  netip.Prefix
}

func (l *lab) tenant() *tenant {
	l.t.Helper()
	l.count++
	control := l.store.Control()
	t, err := control.CreateTenant(l.t.Context(), once(), fmt.Sprintf("tenant-%d", l.count), husk.DefaultQuota)
	must(l.t, err)
	key, err := control.CreateTenantKey(l.t.Context(), t.ID, once(), "owner", store.KeyRequest{Name: "test"})
	must(l.t, err)
	caller, err := control.Authenticate(l.t.Context(), key.ClientID, key.Secret)
	must(l.t, err)
	tn := &tenant{lab: l, id: t.ID, store: l.store.Tenant(caller)}
	tn.image, err = tn.store.CreateImage(l.t.Context(), once(), "registry.example.com/web:1", "sha256:web", husk.ImageConfig{Cmd: []string{"true"}}, nil)
	must(l.t, err)
	must(l.t, control.ImageMade(l.t.Context(), tn.image, 1<<20, false, "abc", nil))
	all, err := control.Topology().Tenants(l.t.Context(), []uuid.UUID{t.ID})
	must(l.t, err)
	tn.cidr = all[0].Networks[0].CIDR
	return tn
}

// pod is a pod that is connected on a node.
type pod struct {
	tenant *tenant
	husk.Pod
	node *node
	port agent.Port // of the first interface
	more []agent.Port
	*machine
}

func (p *pod) addr() netip.Addr { return p.port.Address.Addr() }

// ports are those of all interfaces.
func (p *pod) ports() []agent.Port { return append([]agent.Port{p.port}, p.more...) }

// pod creates a pod on a node and connects a machine.
func (tn *tenant) pod(n *node, labels map[string]string, networks ...husk.PodNetwork) *pod {
	l := tn.lab
	l.t.Helper()
	created := tn.create(labels, networks...)
	placed := time.Now()
	tn.place(created, n)
	tenants, err := l.store.Control().Topology().Tenants(l.t.Context(), []uuid.UUID{tn.id})
	must(l.t, err)
	all, err := l.store.Control().Topology().Ports(l.t.Context(), []uuid.UUID{tn.id}, []uuid.UUID{created.ID})
	must(l.t, err)
	ports := make([]agent.Port, len(all))
	for i, p := range all {
		n := tenants[0].Networks[slices.IndexFunc(tenants[0].Networks, func(n topology.Network) bool { return n.ID == p.Network })]
		mac, err := net.ParseMAC(p.MAC)
		must(l.t, err)
		ports[i] = agent.Port{PodID: created.ID, NetworkID: n.ID, Position: p.Position, Address: netip.PrefixFrom(p.Address, n.CIDR.Bits()), MAC: mac}
		if p.Address6.IsValid() {
			ports[i].Address6 = netip.PrefixFrom(p.Address6, n.IPv6.Bits())
		}
		if n.Isolated {
			continue
		}
		ports[i].Gateway = husk.Gateway(n.CIDR)
		if n.IPv6.IsValid() {
			ports[i].Gateway6 = husk.Gateway(n.IPv6)
		}
	}
	p := &pod{tenant: tn, Pod: created, node: n, port: ports[0], more: ports[1:]}
	p.machine = newMachine(l.t, ports)
	p.plug(n)
	l.connected = append(l.connected, time.Since(placed))
	return p
}

// create creates a pod, which is on no node yet.
func (tn *tenant) create(labels map[string]string, networks ...husk.PodNetwork) husk.Pod {
	l := tn.lab
	l.t.Helper()
	l.count++
	if labels == nil {
		labels = map[string]string{}
	}
	created, err := tn.store.CreatePod(l.t.Context(), once(), fmt.Sprintf("pod-%d", l.count), labels, nil, husk.PodSpec{
		Containers: []husk.Container{{Name: "main", Image: tn.image.Reference}}, Resources: husk.Resources{CPUMillis: 10, MemoryMiB: 10}, RestartPolicy: husk.RestartAlways, Networks: networks,
	})
	must(l.t, err)
	return created
}

func (tn *tenant) place(p husk.Pod, n *node) {
	t := tn.lab.t
	t.Helper()
	capacities, err := tn.lab.store.Control().NodeCapacities(t.Context())
	must(t, err)
	for _, c := range capacities {
		if c.ID == n.id {
			placed, err := tn.lab.store.Control().CommitPlacements(t.Context(), 0, []store.Placement{{Pod: store.PodKey{TenantID: tn.id, ID: p.ID}, Node: n.id, NodeVersion: c.Version}})
			if err != nil || len(placed) != 1 {
				t.Fatalf("%d pods are placed: %v", len(placed), err)
			}
		}
	}
}

// plug does what an agent does to start a pod's machine.
func (p *pod) plug(n *node) {
	t := p.tenant.lab.t
	t.Helper()
	n.do(func() error {
		if err := n.net.Plug(t.Context(), p.ports()...); err != nil {
			return err
		}
		return n.net.AwaitConnected(t.Context(), p.ports()...)
	})
	p.connect(t, n)
}

// eventually repeats a check until it succeeds.
func eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(pace.Limit(limit))
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// machine is the namespace in place of a pod's machine.
type machine struct {
	ns    string // path of the namespace
	*card        // the first one
	cards []*card
}

// card is a card of a machine: a tap, whose frames the test carries to and from the pod's tap, as QEMU does.
type card struct {
	file *os.File

	mu     sync.Mutex
	tap    *os.File // nil: not connected
	seen   func(frame []byte)
	ending sync.WaitGroup
}

// vnetHeader is the size of the header before each frame, with its offloaded checksums and segments (struct virtio_net_hdr).
const vnetHeader = 10

func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(fmt.Errorf("open tap %s: %w", name, err), unix.Close(fd))
	}
	const checksums, segments4, ecn, segments6 = 1, 2, 8, 4
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksums|segments4|segments6|ecn); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func newMachine(t testing.TB, ports []agent.Port) *machine {
	t.Helper()
	m := &machine{}
	ready, end := make(chan error), make(chan struct{})
	go func() { // the namespace lives as long as this thread
		runtime.LockOSThread()
		ready <- func() error {
			if _, err := netns.New(); err != nil {
				return err
			}
			m.ns = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			for _, p := range ports {
				c, err := setUpCard(p, len(ports) > 1)
				if err != nil {
					return fmt.Errorf("card %d: %w", p.Position, err)
				}
				m.cards = append(m.cards, c)
			}
			return nil
		}()
		<-end
	}()
	must(t, <-ready)
	m.card = m.cards[0]
	t.Cleanup(func() {
		for _, c := range m.cards {
			c.disconnect()
			_ = c.file.Close()
			c.ending.Wait()
		}
		close(end)
	})
	for _, c := range m.cards {
		c.ending.Go(func() { // what the machine sends
			frame := make([]byte, 1<<17)
			for {
				size, err := c.file.Read(frame)
				if err != nil {
					return
				}
				c.send(frame[:size])
			}
		})
	}
	return m
}

// setUpCard adds a card to the current namespace, and configures it as husk-init does (guest/pid1).
func setUpCard(p agent.Port, several bool) (*card, error) {
	name := fmt.Sprintf("eth%d", p.Position)
	file, err := openTap(name)
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	for _, setting := range []string{"accept_ra", "accept_dad"} { // netlink.Addr has no flag against detection of duplicates
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/"+setting, []byte("0"), 0); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(netlink.LinkSetHardwareAddr(link, p.MAC), netlink.LinkSetMTU(link, 1442), netlink.LinkSetUp(link)); err != nil {
		return nil, err
	}
	index := link.Attrs().Index
	for _, ip := range []struct {
		address netip.Prefix
		gateway netip.Addr
	}{{p.Address, p.Gateway}, {p.Address6, p.Gateway6}} {
		if !ip.address.IsValid() {
			continue
		}
		bits := ip.address.Addr().BitLen()
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip.address.Addr().AsSlice(), Mask: net.CIDRMask(ip.address.Bits(), bits)}}); err != nil {
			return nil, err
		}
		if !ip.gateway.IsValid() {
			continue
		}
		if p.Position == 0 {
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: ip.gateway.AsSlice()}); err != nil {
				return nil, err
			}
		}
		if !several {
			continue
		}
		table := 100 + p.Position
		rule := netlink.NewRule()
		rule.Src, rule.Table, rule.Family = &net.IPNet{IP: ip.address.Addr().AsSlice(), Mask: net.CIDRMask(bits, bits)}, table, netlink.FAMILY_V4
		if bits == 128 {
			rule.Family = netlink.FAMILY_V6
		}
		subnet := &net.IPNet{IP: ip.address.Masked().Addr().AsSlice(), Mask: net.CIDRMask(ip.address.Bits(), bits)}
		if err := errors.Join(
			netlink.RuleAdd(rule), netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: subnet, Table: table}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: ip.gateway.AsSlice(), Table: table}),
		); err != nil {
			return nil, err
		}
	}
	if p.Position == 0 {
		names := &net.IPNet{IP: agent.NamesAddress.AsSlice(), Mask: net.CIDRMask(32, 32)}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: names}); err != nil {
			return nil, err
		}
	}
	return &card{file: file}, nil
}

// send sends a frame with its header as the machine's card.
func (c *card) send(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tap != nil {
		_, _ = c.tap.Write(frame) // a tap that is gone is an unplugged cable
	}
}

// inject sends a frame without offloads.
func (c *card) inject(frame []byte) { c.send(append(make([]byte, vnetHeader), frame...)) }

// connect connects the card with the pod's tap on a node, instead of the one before.
func (c *card) connectTo(t testing.TB, n *node, name string) {
	t.Helper()
	c.disconnect()
	var tap *os.File
	n.do(func() (err error) {
		tap, err = openTap(name)
		return err
	})
	c.mu.Lock()
	c.tap = tap
	c.mu.Unlock()
	c.ending.Go(func() {
		frame := make([]byte, 1<<17)
		for {
			size, err := tap.Read(frame)
			if err != nil {
				return
			}
			c.mu.Lock()
			seen := c.seen
			c.mu.Unlock()
			if seen != nil {
				seen(slices.Clone(frame[vnetHeader:size]))
			}
			if _, err := c.file.Write(frame[:size]); err != nil {
				return
			}
		}
	})
}

func (p *pod) connect(t testing.TB, n *node) {
	t.Helper()
	for i, port := range p.ports() {
		p.cards[i].connectTo(t, n, port.Tap())
	}
}

func (c *card) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tap != nil {
		_ = c.tap.Close()
		c.tap = nil
	}
}

// watch passes each frame that reaches the machine to a function, until the test ends or watch is called again.
func (c *card) watch(seen func(frame []byte)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = seen
}

// do calls a function in the machine's namespace.
func (m *machine) do(f func() error) error { return within(m.ns, f) }

// serve accepts connections at a port until the test ends. It answers with a name and the client's address.
func (p *pod) serve(t testing.TB, port int) {
	t.Helper()
	must(t, p.do(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprintf(c, "%s %s", p.Name, c.RemoteAddr())
				_ = c.Close()
			}
		}()
		return nil
	}))
}

// get connects to an address and returns what it answers.
func (m *machine) get(at string, limit time.Duration) (answer string, err error) {
	err = m.do(func() error {
		c, err := net.DialTimeout("tcp", at, limit)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		text := make([]byte, 200)
		n, err := c.Read(text)
		answer = string(text[:n])
		return err
	})
	return answer, err
}

// The time limits for a connection that must succeed, and for one that must fail.
const (
	patient   = 5 * time.Second
	impatient = 700 * time.Millisecond
)
