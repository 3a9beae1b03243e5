// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/service"
	"husk/store/services"
	"husk/store/topology"
)

// rows are everything that the northbound database should have of one owner, by the rows' keys.
type rows struct {
	owner     string
	own, own6 []string // the IPv4 and IPv6 ranges of the owner's networks that its router connects
	switches  map[string]*switchPlan
	routers   map[string]*routerPlan
	balancers map[string]*balancerRow
	opened    openings
	ingress   map[string]*balancerRow // of ingress processes
}

type switchPlan struct {
	row   *switchRow
	ports map[string]*portRow
	acls  map[string]*aclRow
	qos   map[string]*qosRow
}

type routerPlan struct {
	row      *routerRow
	ports    map[string]*routerPortRow
	routes   map[string]*routeRow
	policies map[string]*policyRow
	nats     map[string]*natRow
}

// Names in OVN. A network's switch and router port, and a tenant's router, are named after their ids.
func switchName(network uuid.UUID) string { return "husk-" + network.String() }
func routerName(tenant uuid.UUID) string  { return "husk-" + tenant.String() }
func outerName(tenant uuid.UUID) string   { return "husk-" + tenant.String() + "-outer" }

const providerSwitch = "husk-provider"

// mac returns a locally administered MAC address for a network's own port of this kind. A network has one of each kind, so that addresses of other
// networks do not matter. Those of pods begin with other bytes (convert.MAC).
func mac(kind byte, network uuid.UUID) string {
	return net.HardwareAddr{0x02, kind, network[0], network[1], network[2], network[3]}.String()
}

// outerMAC returns the MAC address of a router in the provider network. It follows from the IPv4 address there, so each router has its own.
func outerMAC(a netip.Addr) string {
	ip := a.As4()
	return net.HardwareAddr{0x02, outerPort, ip[0], ip[1], ip[2], ip[3]}.String()
}

// The kinds of MAC addresses of routers and name servers.
const (
	innerPort byte = 0xff
	outerPort byte = 0xfe
	namesPort byte = 0xfd
)

// namesAddress is that of name servers (nodeagent/network, NamesAddress).
const namesAddress = "169.254.64.2"

// plan returns what the northbound database should have of a tenant.
func (c Config) plan(t topology.Tenant, gateways []uuid.UUID) rows {
	r := rows{owner: t.ID.String(), switches: map[string]*switchPlan{}, routers: map[string]*routerPlan{}, balancers: map[string]*balancerRow{}, ingress: map[string]*balancerRow{}}
	router := &routerPlan{
		row: &routerRow{Name: routerName(t.ID), Options: c.routerOptions(), ExternalIDs: r.ids(routerName(t.ID))}, ports: map[string]*routerPortRow{},
		routes: map[string]*routeRow{}, policies: map[string]*policyRow{}, nats: map[string]*natRow{},
	}
	if len(t.Networks) > 0 {
		r.routers[router.row.Name] = router
	}
	for i := range t.Networks {
		n := &t.Networks[i]
		// Such a network would hide the provider network from its own router, and the rules about what pods reach outside.
		n.Isolated = n.Isolated || c.Provider != nil && n.CIDR.Overlaps(c.Provider.Gateway.Masked())
		if n.Isolated {
			continue
		}
		r.own = append(r.own, n.CIDR.Masked().String())
		if n.IPv6.IsValid() {
			r.own6 = append(r.own6, n.IPv6.Masked().String())
		}
	}
	r.opened = planAddresses(r.owner, t.Services, t.Addresses)
	for _, n := range t.Networks {
		c.planNetwork(r, router, n)
	}
	planServices(r, t.Services)
	maps.Copy(r.balancers, r.opened.inside)
	maps.Copy(router.nats, r.opened.nats)
	c.planIngress(r, t.Services)
	c.planOuter(r, router, t, gateways)
	return r
}

// planNetwork adds a network's switch, and connects it with the tenant's router unless it is isolated.
func (c Config) planNetwork(r rows, router *routerPlan, n topology.Network) {
	name := switchName(n.ID)
	s := &switchPlan{
		row:   &switchRow{Name: name, OtherConfig: c.switchConfig(), ExternalIDs: r.ids(name)},
		ports: map[string]*portRow{}, acls: map[string]*aclRow{}, qos: map[string]*qosRow{},
	}
	r.switches[name] = s
	from, from6 := r.own, r.own6
	if n.Isolated {
		from, from6 = []string{n.CIDR.Masked().String()}, nil
		if n.IPv6.IsValid() {
			from6 = []string{n.IPv6.Masked().String()}
		}
	} else {
		inner := name + "-router"
		s.ports[inner] = &portRow{Name: inner, Type: "router", Addresses: []string{"router"}, Options: map[string]string{"router-port": name}, ExternalIDs: r.ids(inner)}
		at := []string{netip.PrefixFrom(husk.Gateway(n.CIDR), n.CIDR.Bits()).String()}
		if n.IPv6.IsValid() {
			at = append(at, netip.PrefixFrom(husk.Gateway(n.IPv6), n.IPv6.Bits()).String())
		}
		router.ports[name] = &routerPortRow{Name: name, MAC: mac(innerPort, n.ID), Networks: at, ExternalIDs: r.ids(name)}
		if c.Provider != nil && n.Outer.IsValid() {
			router.nats[name] = &natRow{Type: "snat", ExternalIP: n.Outer.String(), LogicalIP: n.CIDR.Masked().String(), ExternalIDs: r.ids(name)}
		}
	}
	c.planACLs(r, s, n, from, from6)
	if !n.Isolated {
		maps.Copy(s.acls, r.opened.open(name))
	}
	names := name + "-names" // on each node (nodeagent/network, NamesPort)
	s.ports[names] = &portRow{Name: names, Type: "localport", Addresses: []string{mac(namesPort, n.ID) + " " + namesAddress}, ExternalIDs: r.ids(names)}
	for key, match := range forbidden {
		key = name + "-" + key
		s.acls[key] = &aclRow{Direction: "from-lport", Priority: 32000, Match: match, Action: "drop", ExternalIDs: r.ids(key)}
	}
	for _, p := range n.Ports {
		c.planPort(r, s, p)
	}
}

// planServices adds a load balancer for each protocol of each service that has an address. A connection to a service without ready pods is refused.
func planServices(r rows, all []services.Balanced) {
	for _, s := range all {
		for _, p := range s.Ports {
			if !s.Address.IsValid() {
				continue
			}
			protocol := strings.ToLower(string(p.Protocol))
			key := "husk-" + s.ID.String() + "-" + protocol
			row := r.balancers[key]
			if row == nil {
				row = &balancerRow{Name: key, VIPs: map[string]string{}, Protocol: &protocol, Options: map[string]string{"reject": "true", "hairpin_snat_ip": hairpin}, ExternalIDs: r.ids(key)}
				if s.AffinitySeconds > 0 {
					row.Options["affinity_timeout"] = strconv.Itoa(s.AffinitySeconds)
				}
				r.balancers[key] = row
			}
			vip, backends := balanced(s.Address, p, s.Endpoints)
			row.VIPs[vip] = backends
		}
	}
}

// balanced returns a virtual address with a port, and the endpoints to which it leads.
func balanced(address netip.Addr, p service.Port, endpoints []services.Endpoint) (vip, backends string) {
	all := make([]string, 0, len(endpoints))
	for _, e := range endpoints {
		all = append(all, netip.AddrPortFrom(e.Address, uint16(p.TargetPort)).String()) //nolint:gosec // a port
	}
	return netip.AddrPortFrom(address, uint16(p.Port)).String(), strings.Join(all, ",") //nolint:gosec // a port
}

// hairpin is the address from which a pod gets a connection that it has made to its own service itself.
const hairpin = "169.254.64.1"

// planACLs makes the network's switch keep track of connections. Pods may begin connections to everything that planEgress does not deny, and only pods
// in these ranges to them: from outside, only what floating addresses open.
func (c Config) planACLs(r rows, s *switchPlan, n topology.Network, from, from6 []string) {
	name := switchName(n.ID)
	add := func(key, direction string, tier, priority int, match, action string, options map[string]string) {
		key = name + "-" + key
		s.acls[key] = &aclRow{Direction: direction, Tier: tier, Priority: priority, Match: match, Action: action, Options: options, ExternalIDs: r.ids(key)}
	}
	add("out", "from-lport", lastTier, 1000, "ip4", "allow-related", nil)
	add("out-balanced", "from-lport", lastTier, 1000, "ip4", "allow-related", afterBalancers)
	add("in", "to-lport", lastTier, 1000, "ip4", "allow-related", nil)
	add("inside", "to-lport", platformTier, 1000, "ip4.src == {"+strings.Join(append([]string{hairpin, namesAddress}, from...), ", ")+"}", "pass", nil)
	add("outside", "to-lport", platformTier, 900, "ip4", "drop", nil)
	if len(from6) > 0 {
		add("out6", "from-lport", lastTier, 1000, "ip6", "allow-related", nil)
		add("out6-balanced", "from-lport", lastTier, 1000, "ip6", "allow-related", afterBalancers)
		add("in6", "to-lport", lastTier, 1000, "ip6", "allow-related", nil)
		add("inside6", "to-lport", platformTier, 1000, "ip6.src == {"+strings.Join(from6, ", ")+"}", "pass", nil)
		add("neighbors6", "to-lport", platformTier, 1001, "nd", "allow", nil) // also of the router, with a link-local address
		add("outside6", "to-lport", platformTier, 900, "ip6", "drop", nil)
	}
	if !n.Isolated {
		c.planEgress(r, s, n)
	}
	if !n.Isolated && c.Ingress != nil {
		add("ingress", "to-lport", platformTier, 1000, c.Ingress.nodes("ip4.src"), "pass", nil)
	}
}

// afterBalancers is the option of rules about what pods send after the load balancers of their switch.
var afterBalancers = map[string]string{"apply-after-lb": "true"}

// ids marks a row as ours.
func (r rows) ids(key string) map[string]string {
	return map[string]string{idKey: key, idOwner: r.owner}
}

// forbidden is what pods never send, although port security lets it pass: answers of DHCP servers (RFC 2131, RFC 8415), router advertisements, and
// packets to one address in frames to a group (RFC 1122, section 3.3.6). The router takes such frames, and planEgress matches only those to itself.
var forbidden = map[string]string{
	"dhcp": "udp.src == 67", "dhcpv6": "udp.src == 547", "router-advertisement": "icmp6.type == 134",
	"group-frame": "ip4 && eth.mcast && !eth.bcast && ip4.dst != 224.0.0.0/4", "group-frame6": "ip6 && eth.mcast && ip6.dst != ff00::/8",
}

// planPort adds a pod's port, and its limits.
func (c Config) planPort(r rows, s *switchPlan, p topology.Port) {
	name := husk.PortName(p.PodID, p.Position)
	at := p.MAC + " " + p.Address.String()
	if p.Address6.IsValid() {
		at += " " + p.Address6.String()
	}
	nodes := make([]string, 0, len(p.Nodes))
	for _, n := range p.Nodes {
		nodes = append(nodes, n.String())
	}
	options := map[string]string{"requested-chassis": strings.Join(nodes, ",")}
	if len(nodes) > 1 { // the pod moves: the node to which it goes gets its packets once its machine has announced itself there
		options["activation-strategy"] = "rarp"
	}
	ids := r.ids(name)
	ids[idNetwork] = p.Network.String()
	s.ports[name] = &portRow{Name: name, Addresses: []string{at}, PortSecurity: []string{at}, Options: options, ExternalIDs: ids}
	if c.Limits.BytesPerSecond == 0 {
		return
	}
	kbps := max(1, int(int64(c.Limits.BytesPerSecond)*8/1000))
	bandwidth := map[string]int{"rate": kbps, "burst": max(kbps/burstShare, minBurstKbit)}
	for direction, match := range map[string]string{"from-lport": "inport", "to-lport": "outport"} {
		key := name + "-" + direction
		s.qos[key] = &qosRow{Direction: direction, Priority: 100, Match: fmt.Sprintf("%s == %q", match, name), Bandwidth: bandwidth, ExternalIDs: r.ids(key)}
	}
}

const (
	// burstShare is the part of a second's bytes that may come at once.
	burstShare = 5
	// minBurstKbit lets a few segments of TCP pass together, 1 MiB.
	minBurstKbit = 8 << 10
)

func (c Config) switchConfig() map[string]string {
	if c.Limits.Connections == 0 {
		return nil
	}
	return map[string]string{"ct-zone-limit": strconv.Itoa(c.Limits.Connections)} // of each pod
}

// routerOptions are those of a tenant's router. By default, OVN gives each router a flow for each other one in the provider network, and learns
// neighbors from all requests there. With a router for each tenant, that would be a number of flows that grows with the square of the tenants.
func (c Config) routerOptions() map[string]string {
	options := map[string]string{"dynamic_neigh_routers": "true", "always_learn_from_arp_request": "false"}
	if c.Limits.TenantConnections > 0 {
		options["ct-zone-limit"] = strconv.Itoa(c.Limits.TenantConnections)
	}
	return options
}

// notInternet are the ranges that pods do not reach by default: multicast, and those special-purpose addresses that may be in use inside a
// private network (https://www.iana.org/assignments/iana-ipv4-special-registry).
var notInternet = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast and reserved
}

// Public reports whether pods reach an IPv4 address by default.
func Public(a netip.Addr) bool {
	return a.Is4() && !slices.ContainsFunc(notInternet, func(p netip.Prefix) bool { return p.Contains(a) })
}

// planEgress adds the rules about what pods reach through the router, outside of their network. The rule with the highest priority counts, and without
// one, a packet passes. The switch applies them to connections, so that answers to those that floating addresses allow pass, and after its load
// balancers have replaced the address of a service.
func (c Config) planEgress(r rows, s *switchPlan, n topology.Network) {
	name := switchName(n.ID)
	add := func(key string, priority int, action string, to []string) {
		if len(to) == 0 {
			return
		}
		key = name + "-egress-" + key
		match := fmt.Sprintf("eth.dst == %s && ip4.dst == {%s}", mac(innerPort, n.ID), strings.Join(to, ", "))
		s.acls[key] = &aclRow{Direction: "from-lport", Priority: priority, Match: match, Action: action, Options: afterBalancers, ExternalIDs: r.ids(key)}
	}
	texts := func(prefixes []netip.Prefix) []string {
		all := make([]string, 0, len(prefixes))
		for _, p := range prefixes {
			all = append(all, p.String())
		}
		return all
	}
	add("own", 400, "pass", r.own)
	add("floating", 350, "pass", texts(c.Floating.Prefixes()))
	deny := slices.Clone(c.Egress.Deny)
	if c.Ingress != nil {
		deny = append(deny, c.Ingress.Range.Masked())
	}
	add("deny", 300, "drop", texts(deny))
	add("allow", 200, "pass", texts(c.Egress.Allow))
	add("default", 100, "drop", texts(notInternet))
}

// planOuter connects a tenant's router to the provider network, if one of the tenant's networks has an address there.
func (c Config) planOuter(r rows, router *routerPlan, t topology.Tenant, gateways []uuid.UUID) {
	at := slices.IndexFunc(t.Networks, func(n topology.Network) bool { return n.Outer.IsValid() && !n.Isolated })
	if c.Provider == nil || at < 0 || len(gateways) == 0 {
		return
	}
	name := outerName(t.ID)
	group := groupKey(primary(t.ID, gateways))
	router.ports[name] = &routerPortRow{
		Name: name, MAC: outerMAC(t.Networks[at].Outer), Networks: []string{netip.PrefixFrom(t.Networks[at].Outer, c.Provider.Gateway.Bits()).String()},
		Group: &group, ExternalIDs: r.ids(name), // apply replaces the group's key by its UUID
	}
	// Nothing from outside comes from within.
	spoofed := fmt.Sprintf("inport == %q && ip4.src == {%s}", name, strings.Join(append([]string{hairpin, namesAddress}, r.own...), ", "))
	router.policies[name] = &policyRow{Priority: 600, Action: "drop", Match: spoofed, ExternalIDs: r.ids(name)}
	router.routes[name] = &routeRow{Prefix: "0.0.0.0/0", NextHop: c.Provider.Gateway.Addr().String(), Port: &name, ExternalIDs: r.ids(name)}
}

// primary chooses the gateway of a tenant. A gateway that comes or goes changes that of few tenants (rendezvous hashing: Thaler and
// Ravishankar, "Using name-based mappings to increase hit rates", 1998).
func primary(tenant uuid.UUID, gateways []uuid.UUID) uuid.UUID {
	return slices.MaxFunc(gateways, func(a, b uuid.UUID) int {
		x, y := weight(tenant, a), weight(tenant, b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		default:
			return 0
		}
	})
}

func weight(a, b uuid.UUID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(a[:])
	_, _ = h.Write(b[:])
	// FNV's high bits hardly depend on the last bytes, so they are mixed once more (the finalizer of MurmurHash3).
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// maxGateways is how many nodes stand in for each other. OVN compares them by BFD.
const maxGateways = 3

func groupKey(gateway uuid.UUID) string { return "husk-gateway-" + gateway.String() }

// standIns returns a gateway and those that take over from it, in their order.
func standIns(gateway uuid.UUID, gateways []uuid.UUID) []uuid.UUID {
	others := slices.DeleteFunc(slices.Clone(gateways), func(g uuid.UUID) bool { return g == gateway })
	slices.SortFunc(others, func(a, b uuid.UUID) int {
		x, y := weight(gateway, a), weight(gateway, b)
		return strings.Compare(hex(y), hex(x))
	})
	return append([]uuid.UUID{gateway}, others[:min(len(others), maxGateways-1)]...)
}

func hex(x uint64) string { return string(binary.BigEndian.AppendUint64(nil, x)) }
