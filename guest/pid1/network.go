// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/guest"
	"husk/guest/disks"
	"husk/guest/netlink"
)

// setUpNetwork sets up the loopback interface and the pod's card, if it has one.
func setUpNetwork(ctx context.Context, n *guest.Network) error {
	nl, err := netlink.Open()
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer nl.Close()
	if err := nl.LinkUp(1, 0); err != nil { // lo is always the first interface
		return fmt.Errorf("network: loopback: %w", err)
	}
	openToUsers()
	if n == nil {
		return nil
	}
	for _, c := range n.Cards() {
		if err := setUpCard(ctx, nl, c); err != nil {
			return fmt.Errorf("network: card %s: %w", c.MAC, err)
		}
	}
	default4 := slices.IndexFunc(n.Cards(), func(c guest.Card) bool { return c.Gateway.IsValid() })
	default6 := slices.IndexFunc(n.Cards(), func(c guest.Card) bool { return c.Gateway6.IsValid() })
	for i, c := range n.Cards() {
		if err := addRoutes(ctx, nl, c, i, i == default4, i == default6, len(n.More) > 0); err != nil {
			return fmt.Errorf("network: card %s: %w", c.MAC, err)
		}
	}
	index, _, err := findCard(ctx, n.MAC)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	for _, a := range n.Nameservers {
		if !a.IsLinkLocalUnicast() || !a.Is4() {
			continue
		}
		if err := nl.AddLinkRoute(index, netip.PrefixFrom(a, a.BitLen()), netlink.MainTable); err != nil {
			return fmt.Errorf("network: nameserver %s: %w", a, err)
		}
	}
	return nil
}

// setUpCard sets a card up and gives it its addresses.
func setUpCard(ctx context.Context, nl *netlink.Conn, c guest.Card) error {
	index, name, err := findCard(ctx, c.MAC)
	if err != nil {
		return err
	}
	noAdvertisements(name)
	if err := nl.LinkUp(index, c.MTU); err != nil {
		return err
	}
	for _, address := range []netip.Prefix{c.Address, c.Address6} {
		if !address.IsValid() {
			continue
		}
		if err := nl.AddAddress(index, address); err != nil {
			return fmt.Errorf("address %s: %w", address, err)
		}
	}
	return nil
}

// firstTable is the number of the table of routes of the first card. The kernel uses 253 to 255 itself.
const firstTable = 100

// addRoutes adds the routes of a card, the default routes too if it is the first one with a router. If there are several cards, what comes from the
// address of one leaves through that one, since another one's network would drop it.
func addRoutes(ctx context.Context, nl *netlink.Conn, c guest.Card, position int, default4, default6, several bool) error {
	index, _, err := findCard(ctx, c.MAC)
	if err != nil {
		return err
	}
	for _, ip := range []struct {
		address   netip.Prefix
		gateway   netip.Addr
		isDefault bool
	}{{c.Address, c.Gateway, default4}, {c.Address6, c.Gateway6, default6}} {
		if !ip.gateway.IsValid() {
			continue
		}
		if ip.isDefault {
			if err := nl.AddDefaultRoute(index, ip.gateway, netlink.MainTable); err != nil {
				return fmt.Errorf("gateway %s: %w", ip.gateway, err)
			}
		}
		if !several {
			continue
		}
		table := firstTable + position
		if err := errors.Join(
			nl.AddSourceRule(ip.address.Addr(), table), nl.AddLinkRoute(index, ip.address.Masked(), table), nl.AddDefaultRoute(index, ip.gateway, table),
		); err != nil {
			return fmt.Errorf("routes from %s: %w", ip.address, err)
		}
	}
	return nil
}

// noAdvertisements keeps the kernel from obeying router advertisements. All addresses and routes are known.
func noAdvertisements(card string) {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+card+"/accept_ra", []byte("0"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		warn("card %s: %v", card, err)
	}
}

// openToUsers lets all users listen on every port and send pings, as Docker does. The network is the pod's own.
func openToUsers() {
	for name, value := range map[string]string{"ip_unprivileged_port_start": "0", "ping_group_range": "0 2147483647"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			warn("sysctl %s: %v", name, err)
		}
	}
}

// setSysctls sets parameters of the kernel. An error names the parameter, which the pod's author has chosen.
func setSysctls(sysctls []guest.Sysctl) error {
	for _, c := range sysctls {
		err := os.WriteFile(c.File(), []byte(c.Value), 0)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("sysctl %s: the kernel has no such parameter", c.Name)
		}
		if err != nil {
			return fmt.Errorf("sysctl %s: the kernel does not accept %q: %w", c.Name, c.Value, errors.Unwrap(err))
		}
	}
	return nil
}

// findCard waits for the card with this hardware address, and returns its index and its name.
func findCard(ctx context.Context, mac string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, disks.Wait)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		cards, _ := filepath.Glob("/sys/class/net/*/address")
		for _, c := range cards {
			b, err := os.ReadFile(c)
			if err != nil || !strings.EqualFold(strings.TrimSpace(string(b)), mac) {
				continue
			}
			b, err = os.ReadFile(filepath.Join(filepath.Dir(c), "ifindex"))
			if err == nil {
				index, err := strconv.Atoi(strings.TrimSpace(string(b)))
				return index, filepath.Base(filepath.Dir(c)), err
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, "", errors.New("not attached")
		}
	}
}

// etcFiles are the files that describe the pod's network to a container.
func etcFiles(spec guest.Spec) []guest.File {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if n := spec.Network; n != nil {
		hosts += n.Address.Addr().String() + "\t" + spec.Hostname + "\n"
	} else {
		hosts += "127.0.1.1\t" + spec.Hostname + "\n"
	}
	var aliases strings.Builder
	for _, a := range spec.HostAliases {
		aliases.WriteString(a.IP.String() + "\t" + strings.Join(a.Hostnames, " ") + "\n")
	}
	files := []guest.File{
		{Path: "/etc/hostname", Content: []byte(spec.Hostname + "\n"), Mode: 0o644},
		{Path: "/etc/hosts", Content: []byte(hosts + aliases.String()), Mode: 0o644},
	}
	var resolv strings.Builder
	if n := spec.Network; n != nil {
		for _, a := range n.Nameservers {
			resolv.WriteString("nameserver " + a.String() + "\n")
		}
		if len(n.Search) > 0 {
			resolv.WriteString("search " + strings.Join(n.Search, " ") + "\n")
		}
		if len(n.Options) > 0 {
			resolv.WriteString("options " + strings.Join(n.Options, " ") + "\n")
		}
	}
	return append(files, guest.File{Path: "/etc/resolv.conf", Content: []byte(resolv.String()), Mode: 0o644})
}
