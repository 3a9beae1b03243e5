// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"husk/dev/fabric"
	"husk/links"
)

const ovnDir = "../build/ovn"

// fleetConfig describes a fleet in ranges for benchmarks (RFC 2544), so it cannot hide a network that is in use.
func fleetConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		StateDir: stateDirFor(t), Parts: OVN, OVNDir: ovnDir, SouthboundPort: 6642,
		Fabric: netip.MustParsePrefix("198.18.1.0/24"), Overlay: netip.MustParsePrefix("198.18.2.0/24"), Provider: netip.MustParsePrefix("198.18.3.0/24"),
	}
}

// fleet is a stack with three nodes, whose ovn-controllers are connected.
type fleet struct {
	*Stack
	nodes []*Host
}

func startFleet(t *testing.T, cfg Config) *fleet {
	t.Helper()
	f := &fleet{Stack: start(t, cfg)}
	for i := range 3 {
		h, err := f.AddHost(t.Context(), HostConfig{
			Name: fmt.Sprintf("n%d", i+1), Kind: NodeHost, Addr: f.NodeAddr(i), Overlay: f.OverlayAddr(i),
			Boot: func(ctx context.Context, h *Host) error { return h.StartOVS(ctx) },
		})
		if err != nil {
			t.Fatal(err)
		}
		f.nodes = append(f.nodes, h)
		f.introduce(t, h)
	}
	return f
}

// introduce does what an agent does.
func (f *fleet) introduce(t *testing.T, h *Host) {
	t.Helper()
	f.vsctl(t, h, "set", "open", ".", "external_ids:system-id="+h.Name, "external_ids:hostname="+h.Name, "external_ids:ovn-remote="+f.SouthboundRemote(),
		"external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip="+h.Overlay.String(), "external_ids:ovn-bridge-mappings=provider:"+ProviderBridge)
}

func (f *fleet) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := f.runOVN(t.Context(), name, append([]string{"--timeout=20"}, args...)...)
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return out
}

func (f *fleet) vsctl(t *testing.T, h *Host, args ...string) string {
	t.Helper()
	return f.tool(t, "ovs-vsctl", append([]string{"--db=unix:" + h.OVS()}, args...)...)
}

func (f *fleet) nbctl(t *testing.T, args ...string) string {
	t.Helper()
	return f.tool(t, "ovn-nbctl", append([]string{"--db=" + f.NorthboundRemote()}, args...)...)
}

// sh runs a script in a host.
func sh(h *Host, script string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command("sh", "-ec", script)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := h.fork(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", script, err, out.String())
	}
	return out.String(), nil
}

// pod is a namespace on a host in place of a pod's machine.
type pod struct {
	name, mac, addr string
	host            *Host
}

// plug makes the pod's namespace and connects it. It gets a default route if gateway is not empty.
func (f *fleet) plug(t *testing.T, p pod, gateway string) {
	t.Helper()
	script := fmt.Sprintf(`ip netns add %[1]s; ip link add v-%[1]s type veth peer name eth0 netns %[1]s; ip link set v-%[1]s up
ip -n %[1]s link set lo up; ip -n %[1]s link set eth0 address %[2]s mtu 1442; ip -n %[1]s addr add %[3]s/24 dev eth0; ip -n %[1]s link set eth0 up`, p.name, p.mac, p.addr)
	if gateway != "" {
		script += fmt.Sprintf("; ip -n %s route add default via %s", p.name, gateway)
	}
	if _, err := sh(p.host, script); err != nil {
		t.Fatal(err)
	}
	f.vsctl(t, p.host, "--may-exist", "add-port", integrationBridge, "v-"+p.name, "--", "set", "interface", "v-"+p.name, "external_ids:iface-id="+p.name)
}

// ping returns an error unless the pod gets an answer.
func (p pod) ping(addr string) error {
	_, err := sh(p.host, fmt.Sprintf("ip netns exec %s busybox ping -c 1 -W 1 %s", p.name, addr))
	return err
}

var loss = regexp.MustCompile(`(\d+) packets transmitted, (\d+) packets received`)

// pings sends an echo request every 50 ms and meanwhile calls do. It returns how many were not answered.
func (p pod) pings(t *testing.T, addr string, n int, do func()) string {
	t.Helper()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := sh(p.host, fmt.Sprintf("ip netns exec %s busybox ping -c %d -i 0.05 -W 1 %s || true", p.name, n, addr))
		done <- result{out, err}
	}()
	do()
	r := <-done
	m := loss.FindStringSubmatch(r.out)
	if r.err != nil || m == nil {
		t.Fatalf("%v: %s", r.err, r.out)
	}
	if m[1] == m[2] {
		return "none of " + m[1]
	}
	return fmt.Sprintf("%s of %s got an answer", m[2], m[1])
}

// connect sends a large text to another pod by TCP.
func (p pod) connect(t *testing.T, to pod) {
	t.Helper()
	// At the end of its input, busybox closes the connection in one direction, so the receiver's input stays open.
	const text = "dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\\0' x"
	received := make(chan string, 1)
	go func() {
		out, err := sh(to.host, fmt.Sprintf("mkfifo /run/open; exec 3<>/run/open; ip netns exec %s timeout 60 busybox nc -l -p 8080 <&3 | wc -c", to.name))
		received <- fmt.Sprintf("%s%v", out, err)
	}()
	eventually(t, "a connection", func(context.Context) error {
		_, err := sh(p.host, fmt.Sprintf("%s | ip netns exec %s timeout 50 busybox nc %s 8080", text, p.name, to.addr))
		return err
	})
	if got := <-received; got != fmt.Sprintf("%d\n<nil>", 8<<20) {
		t.Errorf("%s received %s", to.name, got)
	}
}

// Two tenants with the same range have pods on all nodes.
func TestPodsReachTheirOwnNetworkAcrossNodesWhateverFails(t *testing.T) {
	began := time.Now()
	f := startFleet(t, fleetConfig(t))
	t.Logf("three nodes are up after %s; %s", time.Since(began), f.datapathReason())
	var red, blue []pod
	args := []string{"ls-add", "red", "--", "ls-add", "blue"}
	for i, h := range f.nodes {
		for _, name := range []string{"red", "blue"} {
			p := pod{name: fmt.Sprintf("%s%d", name, i+1), mac: fmt.Sprintf("02:00:00:00:%02x:%02x", len(name), i+1), addr: fmt.Sprintf("10.0.0.1%d", i+1), host: h}
			if name == "red" {
				red = append(red, p)
			} else {
				blue = append(blue, p)
			}
			args = append(args, "--", "lsp-add", name, p.name, "--", "lsp-set-addresses", p.name, p.mac+" "+p.addr, "--", "lsp-set-port-security", p.name, p.mac+" "+p.addr)
		}
	}
	// Of the blue tenant, only two pods exist.
	f.nbctl(t, args...)
	for _, p := range append(red, blue[:2]...) {
		f.plug(t, p, "")
	}
	allReach := func(t *testing.T) {
		t.Helper()
		for _, pair := range [][2]pod{{red[0], red[1]}, {red[1], red[2]}, {red[2], red[0]}, {blue[0], blue[1]}} {
			eventually(t, pair[0].name+" reaches "+pair[1].name, func(context.Context) error { return pair[0].ping(pair[1].addr) })
		}
	}
	allReach(t)

	t.Run("checksums of TCP are complete", func(t *testing.T) { red[0].connect(t, red[1]) })
	t.Run("a tenant reaches nothing of another one", func(t *testing.T) {
		for _, p := range blue[:2] {
			if err := p.ping(red[2].addr); err == nil {
				t.Errorf("%s reaches %s, which only the other tenant has", p.name, red[2].addr)
			}
		}
	})
	t.Run("no packet is lost when the control plane fails", func(t *testing.T) {
		// A node's own ovsdb-server is not among them: without it, ovs-vswitchd does not run its userspace datapath.
		for _, name := range []string{"n1-ovn-controller", "n2-ovn-controller", "ovn-northd", "ovn-nb", "ovn-sb"} {
			got := red[0].pings(t, red[1].addr, 40, func() {
				if err := f.Provoke(name, FaultKill); err != nil {
					t.Error(err)
				}
			})
			if got != "none of 40" {
				t.Errorf("after %s was killed: %s", name, got)
			}
		}
		// Also the new processes make changes.
		p := pod{"red4", "02:00:00:00:03:04", "10.0.0.14", f.nodes[1]}
		f.nbctl(t, "lsp-add", "red", p.name, "--", "lsp-set-addresses", p.name, p.mac+" "+p.addr)
		f.plug(t, p, "")
		eventually(t, "a new pod reaches the others", func(context.Context) error { return p.ping(red[0].addr) })
	})
	t.Run("a vswitch or its database that was killed carries packets again", func(t *testing.T) {
		for _, name := range []string{"n2-ovs-vswitchd", "n1-ovsdb-server"} {
			if err := f.Provoke(name, FaultKill); err != nil {
				t.Fatal(err)
			}
			allReach(t)
		}
	})
	t.Run("a node that is cut off", func(t *testing.T) {
		for _, from := range []string{FromAll, FromNodes, f.nodes[1].Name} {
			if err := f.nodes[0].Cut(from, fabric.Both); err != nil {
				t.Fatal(err)
			}
			if red[0].ping(red[1].addr) == nil {
				t.Errorf("a pod reaches another node, although its own is cut off from %s", from)
			}
			if err := f.nodes[0].Heal(); err != nil {
				t.Fatal(err)
			}
			allReach(t)
		}
		if err := f.nodes[0].Cut(FromOVN, fabric.Both); err != nil {
			t.Fatal(err)
		}
		if got := red[0].pings(t, red[1].addr, 40, func() {}); got != "none of 40" {
			t.Errorf("cut off from the southbound database: %s", got)
		}
		if err := f.nodes[0].Heal(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a node that loses its power", func(t *testing.T) {
		if err := f.nodes[2].Kill(); err != nil {
			t.Fatal(err)
		}
		if got := red[0].pings(t, red[1].addr, 20, func() {}); got != "none of 20" {
			t.Errorf("between other nodes: %s", got)
		}
		if err := f.nodes[2].Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.plug(t, red[2], "")
		allReach(t)
	})
	t.Run("the machine reaches floating addresses and no pod reaches the machine", func(t *testing.T) { testProvider(t, f, red) })
}

func testProvider(t *testing.T, f *fleet, red []pod) {
	const outer, floating = "198.18.3.10", "198.18.3.20"
	f.nbctl(t, "lr-add", "r", "--", "lrp-add", "r", "r-red", "02:00:00:00:00:fe", "10.0.0.1/24", "--",
		"lsp-add", "red", "red-r", "--", "lsp-set-type", "red-r", "router", "--", "lsp-set-addresses", "red-r", "router", "--", "lsp-set-options", "red-r", "router-port=r-red", "--",
		"ls-add", "outside", "--", "lsp-add", "outside", "outside-net", "--", "lsp-set-type", "outside-net", "localnet", "--", "lsp-set-addresses", "outside-net", "unknown", "--",
		"lsp-set-options", "outside-net", "network_name=provider", "--",
		"lrp-add", "r", "r-outside", "02:00:00:00:00:fd", outer+"/24", "--", "lrp-set-gateway-chassis", "r-outside", "n1", "20", "--",
		"lsp-add", "outside", "outside-r", "--", "lsp-set-type", "outside-r", "router", "--", "lsp-set-addresses", "outside-r", "router", "--",
		"lsp-set-options", "outside-r", "router-port=r-outside", "--",
		"lr-route-add", "r", "0.0.0.0/0", f.ProviderGateway().Addr().String(), "--",
		"lr-nat-add", "r", "snat", outer, "10.0.0.0/24", "--", "lr-nat-add", "r", "dnat_and_snat", floating, red[1].addr)
	for _, p := range red {
		if _, err := sh(p.host, fmt.Sprintf("ip -n %s route add default via 10.0.0.1", p.name)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the machine reaches a floating address", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "busybox", "ping", "-c", "1", "-W", "1", floating).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	// The machine's addresses: in the provider network, on the fabric, and on its other interfaces.
	closed := []string{f.ProviderGateway().Addr().String(), f.EntryAddr().String(), f.NodeAddr(2).String()}
	addrs, err := links.Addresses(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.IP.IsGlobalUnicast() {
			closed = append(closed, a.IP.String())
		}
	}
	for _, addr := range closed {
		if red[0].ping(addr) == nil {
			t.Errorf("a pod reaches %s", addr)
		}
	}
	// With an address that only the machine routes to, the packet has passed all rules for the way out.
	outside(t, func(addr string) {
		eventually(t, "a pod reaches the outside", func(context.Context) error { return red[0].ping(addr) })
	})
}

// outside calls f with a public address in a network namespace that stands for the Internet. Only this machine has a route to it.
func outside(t *testing.T, f func(addr string)) {
	t.Helper()
	const ns, link, addr = "husk-test-outside", "testoutside", "192.88.99.77" // of an anycast prefix that is not used any more (RFC 7526)
	script := fmt.Sprintf(`ip netns add %[1]s; ip link add %[2]s type veth peer name eth0 netns %[1]s; ip addr add 198.18.9.1/24 dev %[2]s; ip link set %[2]s up
ip -n %[1]s link set lo up; ip -n %[1]s addr add 198.18.9.2/24 dev eth0; ip -n %[1]s link set eth0 up; ip -n %[1]s addr add %[3]s/32 dev lo; ip route add %[3]s/32 via 198.18.9.2`, ns, link, addr)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	if out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f(addr)
}

// holdFleetEnv is as holdEnv, for a fleet.
const holdFleetEnv = "HUSK_TEST_HOLD_FLEET"

func holdFleet(dir string) {
	ctx := context.Background()
	s, err := Start(ctx, killedFleet(dir))
	if err == nil {
		_, err = s.AddHost(ctx, HostConfig{
			Name: "n1", Kind: NodeHost, Addr: s.NodeAddr(0), Overlay: s.OverlayAddr(0),
			Boot: func(ctx context.Context, h *Host) error { return h.StartOVS(ctx) },
		})
	}
	if err == nil {
		_, err = s.runOVN(ctx, "ovn-nbctl", "--db="+s.NorthboundRemote(), "--may-exist", "ls-add", "kept")
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	println("ready")
	select {}
}

// holdNodeEnv is as holdEnv, for a machine that is a node.
const holdNodeEnv = "HUSK_TEST_HOLD_NODE"

func holdNode(dir string) {
	if _, err := Start(context.Background(), loneNode(dir)); err != nil {
		println(err.Error())
		os.Exit(1)
	}
	println("ready")
	select {}
}

func loneNode(dir string) Config {
	return Config{StateDir: dir, Parts: OVN | OVS, OVNDir: ovnDir, Provider: netip.MustParsePrefix("198.18.7.0/24")}
}

func killedFleet(dir string) Config {
	return Config{
		StateDir: dir, Parts: OVN, OVNDir: ovnDir, SouthboundPort: 6642,
		Fabric: netip.MustParsePrefix("198.18.4.0/24"), Overlay: netip.MustParsePrefix("198.18.5.0/24"), Provider: netip.MustParsePrefix("198.18.6.0/24"),
	}
}

func TestAKilledFleetLeavesNoNetworks(t *testing.T) {
	left := func(dir string) string {
		out, err := exec.Command("sh", "-c", "ip -br link | grep "+ID(dir)+"; nft list tables | grep "+ID(dir)+"; true").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	dir := stateDirFor(t)
	kill := func() {
		parent := exec.Command(os.Args[0])
		parent.Env = append(os.Environ(), holdFleetEnv+"="+dir)
		awaitReady(t, parent)
		if got := left(dir); !strings.Contains(got, "inet husk-hkp") || !strings.Contains(got, "hko") {
			t.Errorf("the fleet has only these networks:\n%s", got)
		}
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait() // it was killed
	}
	kill()
	// The next start uses the same ranges, and the databases are still there.
	s := start(t, killedFleet(dir))
	if got, err := s.runOVN(t.Context(), "ovn-nbctl", "--db="+s.NorthboundRemote(), "--bare", "--columns=name", "list", "logical_switch"); err != nil || got != "kept" {
		t.Errorf("switches %q, %v", got, err)
	}
	stop(t, s)
	if got := left(dir); got != "" {
		t.Errorf("after a stop: %s", got)
	}
	kill()
	if err := Clean(dir); err != nil {
		t.Error(err)
	}
	if got := left(dir); got != "" {
		t.Errorf("after a cleanup: %s", got)
	}
}

// inOwnNetwork reports whether the test runs in a network namespace of its own. If not, it runs the test in one.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	const variable = "HUSK_TEST_OWN_NETWORK"
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

func TestThisMachineCanBeANode(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	links := func() string {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "ip link set lo up; ip -br link | cut -d' ' -f1; nft list tables").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := links()
	cfg := loneNode(stateDirFor(t))
	for _, round := range []string{"", "with the databases of the first start", "after a kill"} {
		if round == "after a kill" {
			killed := exec.Command(os.Args[0]) //nolint:noctx // it is killed
			killed.Env = append(os.Environ(), holdNodeEnv+"="+cfg.StateDir)
			awaitReady(t, killed)
			if err := killed.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = killed.Wait() // it was killed
			if left := links(); !strings.Contains(left, ProviderBridge) {
				t.Errorf("a killed node left only these interfaces and tables:\n%s", left)
			}
		}
		s, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		nb, ovs := []string{"--db=" + s.NorthboundRemote(), "--timeout=20"}, []string{"--db=unix:" + s.OVS(), "--timeout=20"}
		run := func(name string, common []string, args ...string) {
			if _, err := s.runOVN(t.Context(), name, slices.Concat(common, args)...); err != nil {
				t.Errorf("%s %v: %v", name, args, err)
			}
		}
		// A router with an address in the provider network, whose gateway is this node.
		run("ovs-vsctl", ovs, "set", "open", ".", "external_ids:system-id=here", "external_ids:hostname=here", "external_ids:ovn-remote="+s.SouthboundRemote(),
			"external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1", "external_ids:ovn-bridge-mappings=provider:"+ProviderBridge)
		run("ovn-nbctl", nb, "--may-exist", "ls-add", "outside", "--", "--may-exist", "lsp-add", "outside", "net", "--", "lsp-set-type", "net", "localnet", "--",
			"lsp-set-addresses", "net", "unknown", "--", "lsp-set-options", "net", "network_name=provider", "--", "--may-exist", "lr-add", "r", "--",
			"--may-exist", "lrp-add", "r", "r-outside", "02:00:00:00:00:fd", "198.18.7.10/24", "--", "lrp-set-gateway-chassis", "r-outside", "here", "20", "--",
			"--may-exist", "lsp-add", "outside", "outside-r", "--", "lsp-set-type", "outside-r", "router", "--", "lsp-set-addresses", "outside-r", "router", "--",
			"lsp-set-options", "outside-r", "router-port=r-outside")
		eventually(t, "the machine reaches the router", func(ctx context.Context) error {
			out, err := exec.CommandContext(ctx, "busybox", "ping", "-c", "1", "-W", "1", "198.18.7.10").CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		})
		stop(t, s)
		if after := links(); after != before {
			t.Errorf("%s: before the start, the machine had these interfaces and tables:\n%s\nand after the stop:\n%s", round, before, after)
		}
	}
}

func TestANodeNeedsItsInterfacesForItself(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "add", "br-int", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, err := Start(t.Context(), Config{StateDir: stateDirFor(t), Parts: OVS, OVNDir: ovnDir})
	if err == nil || !strings.Contains(err.Error(), "this machine has an interface br-int already") {
		t.Errorf("got %v", err)
	}
}
