// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"husk/dev"
	"husk/dev/balance"
)

// The ports of servers and agents on the fabric. Every host has its own address.
const (
	fleetAPIPort   = 8080
	fleetForAgents = 8443
	fleetAgentPort = 7443
)

// isFleet reports whether nodes and servers are hosts of their own.
func (f devFlags) isFleet() bool {
	return f.nodes != 1 || f.servers != 1 || f.databases != 1 || f.centrals != 1
}

func (f devFlags) configureFleet(cfg *dev.Config) error {
	for _, n := range []struct {
		flag      string
		got, most int
	}{{"nodes", f.nodes, dev.MaxNodes}, {"servers", f.servers, dev.MaxServers}, {"databases", f.databases, dev.MaxDatabases}, {"centrals", f.centrals, dev.MaxCentrals}} {
		if n.got < 1 || n.got > n.most {
			return fmt.Errorf("--%s is %d; it can be 1 to %d", n.flag, n.got, n.most)
		}
	}
	if f.centrals%2 == 0 {
		return fmt.Errorf("--centrals is %d; an even number of members tolerates no more losses than one less", f.centrals)
	}
	cfg.Databases, cfg.Centrals = f.databases, f.centrals
	cfg.Parts &^= dev.Libvirt | dev.OVS // every node has its own
	return nil
}

// configureNetworks sets the ranges of the networks around tenants' networks.
func (f devFlags) configureNetworks(cfg *dev.Config) error {
	type network struct {
		flag, text string
		to         *netip.Prefix
	}
	networks := []network{{"provider-range", f.providerRange, &cfg.Provider}}
	if f.isFleet() {
		networks = append(networks, network{"fabric", f.fabric, &cfg.Fabric}, network{"overlay", f.overlay, &cfg.Overlay})
	}
	for i, n := range networks {
		p, err := netip.ParsePrefix(n.text)
		if err != nil || !p.Addr().Is4() || p.Bits() > 24 {
			return fmt.Errorf("--%s %s is not an IPv4 range with at least 256 addresses, such as 10.213.77.0/24", n.flag, n.text)
		}
		for _, other := range networks[:i] {
			if other.to.Overlaps(p) {
				return fmt.Errorf("--%s %s and --%s %s overlap; pass ranges that do not", other.flag, other.text, n.flag, n.text)
			}
		}
		*n.to = p
	}
	if !f.hasIngress() {
		return nil
	}
	var err error
	if cfg.Ingress, err = netip.ParsePrefix(f.ingressRange); err != nil {
		return fmt.Errorf("--ingress-range: %w", err)
	}
	if _, _, err := net.SplitHostPort(f.ingressHTTPS); err != nil {
		return fmt.Errorf("--ingress-https: %w", err)
	}
	return nil
}

// startFleet runs servers and nodes in hosts of their own. Load balancers on this machine pass the requests of people and agents on to
// the servers.
func startFleet(ctx context.Context, in installation) error {
	var api, forAgents []balance.Backend
	for i := range in.flags.servers {
		addr := in.stack.ServerAddr(i)
		backend := balance.Backend{Addr: netip.AddrPortFrom(addr, fleetAPIPort).String()}
		backend.Ready, backend.Alive = "http://"+backend.Addr+"/readyz", "http://"+backend.Addr+"/healthz"
		api = append(api, backend)
		backend.Addr = netip.AddrPortFrom(addr, fleetForAgents).String()
		forAgents = append(forAgents, backend)
	}
	if err := in.stack.Balance(in.flags.api, api...); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if err := in.stack.Balance(netip.AddrPortFrom(in.stack.EntryAddr(), fleetForAgents).String(), forAgents...); err != nil {
		return err
	}
	for i := range in.flags.servers {
		_, err := in.stack.AddHost(ctx, dev.HostConfig{Name: fmt.Sprintf("s%d", i+1), Kind: dev.ServerHost, Addr: in.stack.ServerAddr(i), Boot: in.bootServer})
		if err != nil {
			return err
		}
	}
	if in.flags.noAgent {
		return nil
	}
	if err := in.secureSouthbound(ctx); err != nil {
		return err
	}
	nodes, ctx := errgroup.WithContext(ctx)
	for i := range in.flags.nodes {
		nodes.Go(func() error {
			_, err := in.stack.AddHost(ctx, dev.HostConfig{Name: fmt.Sprintf("n%d", i+1), Kind: dev.NodeHost, Addr: in.stack.NodeAddr(i), Overlay: in.stack.OverlayAddr(i), Boot: in.bootNode})
			return err
		})
	}
	return nodes.Wait()
}

func (in installation) bootServer(ctx context.Context, h *dev.Host) error {
	// The registry has the same address everywhere, because references of images contain it.
	if err := h.Forward(in.stack.RegistryAddr(), in.stack.RegistryAddr()); err != nil {
		return err
	}
	work := filepath.Join(h.Dir(), "work")
	if err := os.MkdirAll(work, 0o755); err != nil { //nolint:gosec // as the state directory
		return err
	}
	p := in.server(netip.AddrPortFrom(h.Addr, fleetAPIPort).String(), netip.AddrPortFrom(h.Addr, fleetForAgents).String(), work)
	p.Args = append(p.Args, "--trusted-proxies", in.stack.EntryAddr().String()+"/32") // the load balancer
	return h.Run(ctx, p)
}

func (in installation) bootNode(ctx context.Context, h *dev.Host) error {
	if err := h.StartOVS(ctx); err != nil {
		return err
	}
	if err := h.Libvirt(ctx); err != nil {
		return err
	}
	total, err := memoryTotalMiB()
	if err != nil {
		return err
	}
	memory := (total - in.flags.reserveMemoryMiB) / in.flags.nodes
	server := "https://" + netip.AddrPortFrom(in.stack.EntryAddr(), fleetForAgents).String()
	p, err := in.agent(ctx, filepath.Join(h.Dir(), "agent"), server, netip.AddrPortFrom(h.Addr, fleetAgentPort).String(), "--memory-mib", fmt.Sprint(memory),
		"--ovsdb", "unix:"+h.OVS(), "--overlay-address", h.Overlay.String())
	if err != nil {
		return err
	}
	return h.Run(ctx, p)
}
