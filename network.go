// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// DefaultNetwork is the name of the network that each tenant has from the start. Pods that name no network are in it.
const DefaultNetwork = "default"

// MaxInterfaces is how many networks one pod can be in.
const MaxInterfaces = 4

// Network is a network of a tenant. Its range can be the same as that of another tenant's network.
type Network struct {
	ID        uuid.UUID         `json:"id"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	CIDR      netip.Prefix      `json:"cidr"`
	IPv6CIDR  netip.Prefix      `json:"ipv6Cidr,omitzero"` // invalid: pods have no IPv6 addresses
	Isolated  bool              `json:"isolated"`          // no router connects it with others
	Status    NetworkStatus     `json:"status"`
	CreatedAt time.Time         `json:"createdAt"`
}

// NetworkStatus is what the platform says about a network.
type NetworkStatus struct {
	Gateway      string `json:"gateway,omitempty"`      // the address of its router
	OuterAddress string `json:"outerAddress,omitempty"` // from which its pods reach other networks
	Pods         int    `json:"pods"`                   // with an address in it
	Addresses    int64  `json:"addresses"`              // for pods, used or not
}

// privateRanges are those from which tenants can choose: RFC 1918 and RFC 6598, and unique local addresses (RFC 4193).
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

var uniqueLocal = netip.MustParsePrefix("fc00::/7")

// The lengths of the prefixes of networks.
const (
	minNetworkBits, maxNetworkBits         = 16, 29
	minIPv6NetworkBits, maxIPv6NetworkBits = 48, 112
)

// Check refuses ranges that a network cannot have. Codes: invalid.
func (n Network) Check() error {
	if r := n.CIDR; r.IsValid() {
		switch {
		case r != r.Masked():
			return Errorf(CodeInvalid, "cidr", "%s is an address in a network; write the network itself, %s", r, r.Masked())
		case !r.Addr().Is4() || r.Bits() < minNetworkBits || r.Bits() > maxNetworkBits:
			return Errorf(CodeInvalid, "cidr", "%s is not an IPv4 range between /%d and /%d", r, minNetworkBits, maxNetworkBits)
		case !slices.ContainsFunc(privateRanges, func(p netip.Prefix) bool { return p.Bits() <= r.Bits() && p.Contains(r.Addr()) }):
			return Errorf(CodeInvalid, "cidr", "%s is not private; choose a range inside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10", r)
		}
	}
	if r := n.IPv6CIDR; r.IsValid() {
		switch {
		case r != r.Masked():
			return Errorf(CodeInvalid, "ipv6Cidr", "%s is an address in a network; write the network itself, %s", r, r.Masked())
		case !r.Addr().Is6() || r.Addr().Is4In6() || r.Bits() < minIPv6NetworkBits || r.Bits() > maxIPv6NetworkBits || !uniqueLocal.Contains(r.Addr()):
			return Errorf(CodeInvalid, "ipv6Cidr", "%s is not a range of unique local IPv6 addresses (fc00::/7) between /%d and /%d", r, minIPv6NetworkBits, maxIPv6NetworkBits)
		}
	}
	return nil
}

// Gateway returns the address of the router of a network: the first one.
func Gateway(r netip.Prefix) netip.Addr { return r.Masked().Addr().Next() }

// Addresses returns how many pods a network has addresses for. The first address is the range's own, the second one the gateway's, and the last
// one is for broadcasts.
func (n Network) Addresses() int64 { return max(0, int64(1)<<(32-n.CIDR.Bits())-3) }

// IPv6Of returns the IPv6 address of a pod with this IPv4 address: the same number in the network's IPv6 range.
func (n Network) IPv6Of(a netip.Addr) netip.Prefix {
	if !n.IPv6CIDR.IsValid() {
		return netip.Prefix{}
	}
	base, is := n.CIDR.Masked().Addr().As4(), a.As4()
	offset := binary.BigEndian.Uint32(is[:]) - binary.BigEndian.Uint32(base[:])
	to := n.IPv6CIDR.Masked().Addr().As16()
	binary.BigEndian.PutUint32(to[12:], binary.BigEndian.Uint32(to[12:])|offset)
	return netip.PrefixFrom(netip.AddrFrom16(to), n.IPv6CIDR.Bits())
}

// PodNetwork is one of the networks that a pod asks for.
type PodNetwork struct {
	Network string `json:"network"`           // its name
	Address string `json:"address,omitempty"` // empty: any
}

// Interface connects a pod with a network.
type Interface struct {
	NetworkID uuid.UUID    `json:"networkId"`
	Network   string       `json:"network"`              // its name
	Address   netip.Prefix `json:"address"`              // with the length of the network's prefix
	Address6  netip.Prefix `json:"ipv6Address,omitzero"` // invalid: none
	MAC       string       `json:"mac"`
	Isolated  bool         `json:"isolated,omitempty"` // the network has no router
}

// Routed returns the first interface through which a pod is reached by routers. A pod that is only in isolated networks has none.
func Routed(interfaces []Interface) (Interface, bool) {
	at := slices.IndexFunc(interfaces, func(i Interface) bool { return !i.Isolated })
	if at < 0 {
		return Interface{}, false
	}
	return interfaces[at], true
}

// PodInterface is what a pod's status says about an interface.
type PodInterface struct {
	Network  string `json:"network"`
	Address  string `json:"address"`
	Address6 string `json:"ipv6Address,omitempty"`
}

// InterfaceMAC derives the MAC address of a pod's interface from that of the first one. The address is locally administered and unicast.
func InterfaceMAC(first net.HardwareAddr, position int) net.HardwareAddr {
	mac := slices.Clone(first)
	mac[0] += byte(position) << 4 //nolint:gosec // at most MaxInterfaces
	return mac
}

// PortName returns the name that a pod's interface has in OVN. The agent of the pod's node claims the port by this name.
func PortName(pod uuid.UUID, position int) string {
	if position == 0 {
		return pod.String()
	}
	return pod.String() + "-" + strconv.Itoa(position)
}
