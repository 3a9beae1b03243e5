// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"husk"
	"husk/service"
	"husk/store/services"
)

// Ingress says how ingress processes reach services. Their machines are connected to the provider network. The ranges of tenants overlap, so each
// service that an ingress names has a second address, which is unique: the tenant's router answers there, and distributes connections as the service
// does. Nobody else reaches these addresses.
type Ingress struct {
	Range netip.Prefix // of the addresses
	Nodes []netip.Addr // of the machines, in the provider network
}

// DefaultIngressRange is in the shared address space of RFC 6598, and outside of the default ranges of pods and services.
var DefaultIngressRange = netip.MustParsePrefix("100.126.0.0/16")

// Check refuses ranges that overlap.
func (i Ingress) Check(others ...netip.Prefix) error {
	if !i.Range.IsValid() || !i.Range.Addr().Is4() || i.Range.Bits() > 28 {
		return husk.Errorf(husk.CodeInvalid, "", "the ingress range %s must be a range of IPv4 addresses of at most /28, such as %s", i.Range, DefaultIngressRange)
	}
	for _, o := range others {
		if i.Range.Overlaps(o) {
			return husk.Errorf(husk.CodeInvalid, "", "the ingress range %s overlaps %s; choose another range with --ingress-range", i.Range, o)
		}
	}
	return nil
}

// bounds returns the first and the last address that a service can have.
func (i Ingress) bounds() (first, last netip.Addr) {
	a := i.Range.Masked().Addr().As4()
	first = netip.AddrFrom4(a).Next()
	for bit := i.Range.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return first, netip.AddrFrom4(a).Prev()
}

// nodes matches packets of ingress processes, or to them.
func (i Ingress) nodes(field string) string {
	texts := make([]string, 0, len(i.Nodes))
	for _, a := range i.Nodes {
		texts = append(texts, a.String())
	}
	return field + " == {" + strings.Join(texts, ", ") + "}"
}

// ingressSuffix ends the keys of the load balancers of ingress processes.
const ingressSuffix = "-ingress"

// planIngress adds a load balancer for each service that an ingress names. neighbor_responder makes the router answer ARP for its address, although
// the address is not in the provider network.
func (c Config) planIngress(r rows, all []services.Balanced) {
	if c.Ingress == nil || c.Provider == nil {
		return
	}
	for _, s := range all {
		if !s.Ingress.IsValid() {
			continue
		}
		protocol := "tcp"
		key := "husk-" + s.ID.String() + ingressSuffix
		row := &balancerRow{
			Name: key, VIPs: map[string]string{}, Protocol: &protocol, Options: map[string]string{"reject": "true", "neighbor_responder": "all"}, ExternalIDs: r.ids(key),
		}
		for _, p := range s.Ports {
			if p.Protocol == service.TCP {
				vip, backends := balanced(s.Ingress, p, s.Endpoints)
				row.VIPs[vip] = backends
			}
		}
		r.ingress[key] = row
	}
}

// ingressACLs are those of the switch of the provider network.
func (c Config) ingressACLs(r rows) map[string]*aclRow {
	all := map[string]*aclRow{}
	if c.Ingress != nil {
		key := providerSwitch + ingressSuffix
		all[key] = &aclRow{
			Direction: "from-lport", Priority: 1000, Action: "drop", ExternalIDs: r.ids(key),
			Match: fmt.Sprintf("(ip4.dst == %[1]s && !(%[2]s)) || (ip4.src == %[1]s && inport == %[3]q)", c.Ingress.Range.Masked(), c.Ingress.nodes("ip4.src"), providerSwitch+"-uplink"),
		}
	}
	return all
}

// split separates the load balancers of services from those of ingress processes.
func split(all map[string]*balancerRow) (ofServices, ofIngress map[string]*balancerRow) {
	ofServices, ofIngress = maps.Clone(all), map[string]*balancerRow{}
	maps.DeleteFunc(ofServices, func(key string, row *balancerRow) bool {
		if strings.HasSuffix(key, ingressSuffix) {
			ofIngress[key] = row
			return true
		}
		return false
	})
	return ofServices, ofIngress
}

// addIngress brings the load balancers of ingress processes in line, and adds them to what the tenant's router needs.
func addIngress(b *batch, outer *children, have, want map[string]*balancerRow) error {
	made, err := makeBalancers(b, have, want)
	outer.added, outer.kept = append(outer.added, made.added...), append(outer.kept, made.kept...)
	return err
}
