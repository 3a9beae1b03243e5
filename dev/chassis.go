// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"husk/dev/fabric"
)

// Datapath is where Open vSwitch handles packets.
type Datapath string

// The datapaths.
const (
	KernelDatapath    Datapath = "system"
	UserspaceDatapath Datapath = "netdev"
)

// The bridges of a node: of pods, which ovn-controller makes, of tunnels between nodes, and of the provider network.
const (
	integrationBridge = "br-int"
	tunnelBridge      = "br-phys"
	ProviderBridge    = "br-ex"
)

// systemSocket is where the Open vSwitch of the machine itself answers, if it has one.
const systemSocket = "/run/openvswitch/db.sock"

// Datapath returns the datapath of the nodes.
func (s *Stack) Datapath() Datapath {
	if fabric.KernelHasVSwitch() && !s.sharesKernel() {
		return KernelDatapath
	}
	return UserspaceDatapath
}

// sharesKernel reports whether this machine is a node and runs another Open vSwitch. In one network, the kernel's datapath has one owner.
func (s *Stack) sharesKernel() bool { return s.cfg.Parts&OVS != 0 && answers(systemSocket) }

// datapathReason says for people which datapath nodes use, and why.
func (s *Stack) datapathReason() string {
	switch {
	case s.Datapath() == KernelDatapath:
		return "Open vSwitch uses the kernel's datapath"
	case s.sharesKernel():
		return "Open vSwitch uses its userspace datapath, because the machine's own uses the kernel's"
	default:
		return "Open vSwitch uses its userspace datapath, because the kernel has no module openvswitch"
	}
}

func (s *Stack) chassisTools() error {
	return s.ovnTools("ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-vswitchd", "ovs-dpctl", "ovn-controller")
}

// bridgesAreFree returns an error if this machine has bridges with the names of a node's already, except those of a killed predecessor.
func (s *Stack) bridgesAreFree() error {
	if err := s.removeDatapath(context.Background()); err != nil {
		return err
	}
	for _, name := range []string{integrationBridge, ProviderBridge} {
		if fabric.Exists(name) {
			return fmt.Errorf("this machine has an interface %s already, which a node needs; remove it, or start a fleet with --nodes, whose hosts have interfaces of their own", name)
		}
	}
	return nil
}

// removeDatapath removes what the process of this machine's Open vSwitch leaves when it ends: bridges, and the datapath in the kernel.
func (s *Stack) removeDatapath(ctx context.Context) error {
	if _, err := os.Stat(s.dir.join((*Host)(nil).ovsDir())); err != nil {
		return nil //nolint:nilerr // this machine has never been a node
	}
	var err error
	for _, name := range []string{integrationBridge, ProviderBridge, UserspaceDatapath.name()} {
		err = errors.Join(err, fabric.RemoveUnusedTap(name))
	}
	if s.Datapath() == KernelDatapath && fabric.Exists(KernelDatapath.name()) {
		_, e := s.runOVN(ctx, "ovs-dpctl", "del-dp", string(KernelDatapath)+"@"+KernelDatapath.name())
		err = errors.Join(err, e)
	}
	return err
}

// name returns the name of the datapath and of its interface.
func (d Datapath) name() string { return "ovs-" + string(d) }

// ovsDir returns the directory of a node's Open vSwitch, relative to the state directory.
func (h *Host) ovsDir() string {
	if h == nil {
		return "ovs"
	}
	return filepath.Join("hosts", h.Name, "ovs")
}

// OVS returns the path of the socket of this machine's OVSDB.
func (s *Stack) OVS() string { return s.dir.join((*Host)(nil).ovsDir(), "db.sock") }

// OVS returns the path of the socket of the host's OVSDB, here and in the host.
func (h *Host) OVS() string { return h.stack.dir.join(h.ovsDir(), "db.sock") }

// StartOVS connects the host with the overlay and the provider network, and starts its Open vSwitch and ovn-controller. An agent tells them the
// node's id and where the southbound database is.
func (h *Host) StartOVS(ctx context.Context) error {
	if err := h.stack.chassisTools(); err != nil {
		return err
	}
	if err := h.stack.fabric.ConnectTunnels(h.Name, h.running()); err != nil {
		return err
	}
	var children []*child
	err := h.stack.startChassis(ctx, h, &children)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children = append(h.children, children...)
	return err
}

// ConnectTunnels gives a host that runs its own Open vSwitch the interface for tunnels, [fabric.TunnelInterface].
func (h *Host) ConnectTunnels() error { return h.stack.fabric.ConnectTunnels(h.Name, h.running()) }

// ConnectProvider gives such a host its interface in the provider network, and returns the interface's name.
func (h *Host) ConnectProvider() (string, error) { return h.stack.connectProvider(h) }

// startChassis starts the daemons of a node on a host, or on this machine without one.
func (s *Stack) startChassis(ctx context.Context, h *Host, children *[]*child) error {
	if err := s.dir.mkdir(h.ovsDir(), 0o711); err != nil {
		return err
	}
	dir := s.dir.join(h.ovsDir())
	if err := s.startDatabase(ctx, children, h, ovsdb{"ovsdb-server", dir, "conf.db", "db.sock", "vswitch", nil}); err != nil {
		return err
	}
	db := "unix:" + filepath.Join(dir, "db.sock")
	vsctl := func(args ...string) error {
		_, err := s.runOVN(ctx, "ovs-vsctl", append([]string{"--db=" + db, "--timeout=20"}, args...)...)
		return err
	}
	// The userspace datapath reads interfaces like a packet sniffer: packets arrive there before their checksum is complete, which only this setting
	// allows for. After a restart, ovn-controller computes all flows before it replaces those of its predecessor, which takes less than 2 s;
	// without the wait, it removes them first.
	err := vsctl("--no-wait", "init", "--", "set", "open", ".", "external_ids:ovn-ofctrl-wait-before-clear=2000",
		fmt.Sprintf("other_config:userspace-tso-enable=%t", s.Datapath() == UserspaceDatapath), "external_ids:ovn-bridge-datapath-type="+string(s.Datapath()))
	if err != nil {
		return err
	}
	vswitchd, err := s.ovsDaemon(h, "ovs-vswitchd", "ovs-vswitchd", dir, "vswitchd.ctl", db)
	if err != nil {
		return err
	}
	vswitchd.again = func(context.Context) error { return s.settle(h) }
	control := filepath.Join(dir, "vswitchd.ctl")
	if err := s.spawnAs(ctx, children, vswitchd, ovsStart, func(ctx context.Context) error { return dial(ctx, control) }); err != nil {
		return err
	}
	if err := s.makeBridges(h, vsctl); err != nil {
		return err
	}
	// If the database had the bridges already, ovs-vsctl has not waited for them.
	if err := poll(ctx, ovsStart, nil, vswitchd.again); err != nil {
		return err
	}
	controller, err := s.ovsDaemon(h, "ovn-controller", "ovn-controller", dir, "controller.ctl", db)
	if err != nil {
		return err
	}
	control = filepath.Join(dir, "controller.ctl")
	return s.spawnAs(ctx, children, controller, ovsStart, func(ctx context.Context) error { return dial(ctx, control) })
}

// makeBridges makes the bridges to the world outside of a node.
func (s *Stack) makeBridges(h *Host, vsctl func(...string) error) error {
	var args []string
	add := func(bridge, port string, settings ...string) {
		args = append(args, "--", "--may-exist", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type="+string(s.Datapath()))
		args = append(args, settings...)
		args = append(args, "--", "--may-exist", "add-port", bridge, port)
	}
	if h != nil {
		// By default, a bridge has the MAC address of one of its ports. Then the kernel would handle the packets that arrive at the port, too.
		add(tunnelBridge, fabric.TunnelInterface, fmt.Sprintf("other_config:hwaddr=%q", fabric.MAC(h.Overlay)))
	}
	if s.provider != nil {
		port, err := s.connectProvider(h)
		if err != nil {
			return err
		}
		add(ProviderBridge, port)
	}
	if len(args) == 0 {
		return nil
	}
	return vsctl(args[1:]...)
}

func (s *Stack) connectProvider(h *Host) (port string, err error) {
	if h == nil {
		return s.provider.Connect("here", nil)
	}
	return s.provider.Connect(h.Name, h.running())
}

// settle returns an error until the bridges exist, and gives a host its address in the overlay, which it loses with ovs-vswitchd.
func (s *Stack) settle(h *Host) error {
	do := func(f func() error) error { return f() }
	if h != nil {
		on := h.running()
		if on == nil {
			return errors.New("the host is off")
		}
		do = on.Do
	}
	return do(func() error {
		if s.provider != nil && !fabric.Exists(ProviderBridge) {
			return errors.New("ovs-vswitchd has not made the bridge " + ProviderBridge)
		}
		if h == nil {
			return nil
		}
		return fabric.SetAddress(tunnelBridge, h.Overlay, s.cfg.Overlay)
	})
}

// OverlayAddr returns the address at which the node with this number, counted from 0, receives tunnelled packets.
func (s *Stack) OverlayAddr(i int) netip.Addr { return nth(s.cfg.Overlay, firstNode+i) }

// ProviderGateway returns this machine's address in the provider network, with the network's prefix length.
func (s *Stack) ProviderGateway() netip.Prefix {
	return netip.PrefixFrom(s.provider.Gateway(), s.cfg.Provider.Bits())
}

// ProviderAddresses returns the first and the last address of the provider network that tenants' networks can have, with a hyphen in between.
func (s *Stack) ProviderAddresses() string {
	size := s.providerSize()
	return nth(s.cfg.Provider, firstProvider).String() + "-" + nth(s.cfg.Provider, size*3/4-1).String()
}

// FloatingAddresses returns the first and the last of its addresses that tenants can take, with a hyphen in between.
func (s *Stack) FloatingAddresses() string {
	size := s.providerSize()
	return nth(s.cfg.Provider, size*3/4+1).String() + "-" + nth(s.cfg.Provider, size-spareProvider).String()
}

// The first address of the provider network that is handed out, and how many at the end are not.
const firstProvider, spareProvider = 10, 6

func (s *Stack) providerSize() int {
	return 1 << (s.cfg.Provider.Addr().BitLen() - s.cfg.Provider.Bits())
}
