// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"husk/service"
)

// content is a zone in the form in which queries are answered. It does not change.
type content struct {
	suffix  string           // in lower case, with a dot at the end
	owners  map[string]owner // by name in lower case, with a dot at the end
	reverse map[netip.Addr]string
	ranges  []netip.Prefix
	serial  uint32
	forward bool
}

// owner is the records of a name. A name without records exists too, if other names are below it.
type owner struct {
	addresses []netip.Addr
	services  []target
}

// target is what an SRV record names.
type target struct {
	name      string
	port      uint16
	addresses []netip.Addr
}

// compile prepares a zone. It refuses what no server sends.
func compile(z service.Zone) (*content, error) {
	suffix := dns.CanonicalName(z.Suffix)
	if _, ok := dns.IsDomainName(suffix); !ok || suffix == "." {
		return nil, fmt.Errorf("%q is not the name of a zone", z.Suffix)
	}
	c := &content{
		suffix: suffix, owners: make(map[string]owner, len(z.Pods)+len(z.Services)+2), reverse: make(map[netip.Addr]string, len(z.Pods)+len(z.Services)),
		serial: serialOf(z.Version), forward: z.Forward,
	}
	for _, text := range z.Ranges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("a range of the zone: %w", err)
		}
		c.ranges = append(c.ranges, r.Masked())
	}
	pods := service.PodsLabel + "." + suffix
	c.owners[suffix], c.owners[pods] = owner{}, owner{}
	addresses := make(map[string][]netip.Addr, len(z.Pods))
	for _, p := range z.Pods {
		name, err := under(p.Name, pods)
		if err != nil {
			return nil, err
		}
		var all []netip.Addr
		for _, text := range []string{p.Address, p.Address6} {
			if text == "" && len(all) > 0 {
				continue // it has no IPv6 address
			}
			at, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("the address of the pod %q: %w", p.Name, err)
			}
			all = append(all, at)
			c.reverse[at] = name
		}
		addresses[p.Name] = all
		c.owners[name] = owner{addresses: all}
	}
	for _, s := range z.Services {
		if err := c.addService(s, addresses); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *content) addService(s service.ZoneService, pods map[string][]netip.Addr) error {
	name, err := under(s.Name, c.suffix)
	if err != nil {
		return err
	}
	var o owner
	var members []target // of SRV records, without ports
	if s.Address != "" {
		at, err := netip.ParseAddr(s.Address)
		if err != nil {
			return fmt.Errorf("the address of the service %q: %w", s.Name, err)
		}
		o.addresses = []netip.Addr{at}
		members = []target{{name: name, addresses: o.addresses}}
		c.reverse[at] = name
	}
	for _, pod := range s.Pods {
		all, known := pods[pod]
		if !known {
			return fmt.Errorf("the service %q has a pod %q, which is not in the zone", s.Name, pod)
		}
		o.addresses = append(o.addresses, all...)
		members = append(members, target{name: strings.ToLower(pod) + "." + service.PodsLabel + "." + c.suffix, addresses: all})
	}
	c.owners[name] = o
	for _, p := range s.Ports {
		protocol := "_" + strings.ToLower(string(p.Protocol)) + "." + name
		full, err := under("_"+p.Name, protocol)
		if err != nil {
			return err
		}
		if p.Port < 1 || p.Port > 65535 {
			return fmt.Errorf("the port %q of the service %q is %d", p.Name, s.Name, p.Port)
		}
		targets := make([]target, len(members))
		for i, m := range members {
			m.port = uint16(p.Port)
			targets[i] = m
		}
		c.owners[protocol], c.owners[full] = owner{}, owner{services: targets}
	}
	return nil
}

// under returns a name below another. The label must be one that needs no escapes.
func under(label, above string) (string, error) {
	name := strings.ToLower(label) + "." + above
	if label == "" || len(label) > 63 || len(name) > 254 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return "", fmt.Errorf("%q cannot be a name below %s", label, above)
	}
	return name, nil
}

// serialOf returns a serial number for the SOA record. No secondary server compares it.
func serialOf(version string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(version))
	return h.Sum32()
}

// reverseAddress returns the address that a name below in-addr.arpa or ip6.arpa stands for.
func reverseAddress(name string) (netip.Addr, bool) {
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		parts := strings.Split(labels, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return a, err == nil && a.Is4()
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if parts := strings.Split(labels, "."); ok && len(parts) == 32 {
		var a [16]byte
		for i, p := range parts {
			n, err := strconv.ParseUint(p, 16, 4)
			if err != nil || len(p) != 1 {
				return netip.Addr{}, false
			}
			a[15-i/2] |= byte(n) << (4 * (i % 2))
		}
		return netip.AddrFrom16(a), true
	}
	return netip.Addr{}, false
}
