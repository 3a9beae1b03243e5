// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"husk"
	"husk/ingress"
	"husk/server/network"
	"husk/service"
	"husk/service/securitygroup"
	"husk/store"
)

// ingressAddrs are those of the machines with ingress processes in the provider network.
var ingressAddrs = []netip.Addr{netip.MustParseAddr("198.18.13.210"), netip.MustParseAddr("198.18.13.211")}

// ingressHost is a machine for ingress processes: it is connected to the provider network, where it finds the addresses of services.
func (l *lab) ingressHost(i int) *outside {
	l.t.Helper()
	return l.onLink(l.provided(fmt.Sprintf("hk-ingress%d", i), ingressAddrs[i]))
}

// onLink gives a host a route to the addresses of services.
func (l *lab) onLink(o *outside) *outside {
	l.t.Helper()
	must(l.t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		r := network.DefaultIngressRange
		return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: r.Addr().AsSlice(), Mask: net.CIDRMask(r.Bits(), 32)}})
	}))
	return o
}

func (tn *tenant) service(name, app string, ports ...service.Port) service.Service {
	t := tn.lab.t
	t.Helper()
	s, err := tn.store.Services().Create(t.Context(), once(), service.Service{
		Name: name, Labels: map[string]string{}, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{app}}}, Ports: ports, Affinity: service.AffinityNone,
	})
	must(t, err)
	return s
}

// address returns the address that a service has for ingress processes.
func (tn *tenant) ingressAddress(name string) (a netip.Addr) {
	t := tn.lab.t
	t.Helper()
	eventually(t, 10*time.Second, "the service has an address in the ingress range", func() error {
		all, err := tn.lab.store.Control().Topology().Services(t.Context(), []store.ID{tn.id})
		must(t, err)
		for _, s := range all[0].Services {
			if s.Name == name && s.Ingress.IsValid() {
				a = s.Ingress
				return nil
			}
		}
		return fmt.Errorf("service %s has no address", name)
	})
	return a
}

// TestOnlyIngressProcessesReachServicesFromOutside connects to services of two tenants from a machine with an ingress process, and from others.
func TestOnlyIngressProcessesReachServicesFromOutside(t *testing.T) {
	l := start(t, network.Limits{})
	edge, o := l.ingressHost(0), l.onLink(l.outside())
	a, b := l.tenant(), l.tenant()
	pods := map[*tenant]*pod{}
	for i, tn := range []*tenant{a, b} {
		p := tn.pod(l.nodes[i], map[string]string{"app": "web", "role": "web"})
		p.serve(t, 8080)
		p.report(husk.EventRunning, true)
		pods[tn] = p
		tn.service("web", "web", service.Port{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080})
		_, err := tn.store.Ingresses().Create(t.Context(), once(), ingress.Ingress{
			Name: "web", Labels: map[string]string{}, Rules: []ingress.Rule{{Host: fmt.Sprintf("tenant%d.example.com", i), Paths: []ingress.Path{{Service: "web", Port: 80}}}},
		})
		must(t, err)
	}
	if a.ingressAddress("web") == b.ingressAddress("web") {
		t.Fatal("two services have the same address")
	}
	for tn, p := range pods {
		at := netip.AddrPortFrom(tn.ingressAddress("web"), 80).String()
		eventually(t, 20*time.Second, "the service is reached", func() error {
			answer, err := edge.get(at, patient)
			if err == nil && answer[:strings.LastIndex(answer, ":")] != p.Name+" "+edge.addr.String() {
				err = fmt.Errorf("the pod %s answers %q, and the client is %s", p.Name, answer, edge.addr)
			}
			return err
		})
		if answer, err := o.get(at, impatient); err == nil {
			t.Errorf("another machine in the provider network reaches the service: %s", answer)
		}
	}
	// Pods reach neither the addresses of others, nor the machine of the ingress process.
	if answer, err := pods[a].get(netip.AddrPortFrom(b.ingressAddress("web"), 80).String(), impatient); err == nil {
		t.Errorf("a pod reaches another tenant's service: %s", answer)
	}
	edge.serve(t)
	if answer, err := pods[a].get(netip.AddrPortFrom(edge.addr, 80).String(), impatient); err == nil {
		t.Errorf("a pod reaches the machine of an ingress process: %s", answer)
	}
	if _, err := edge.get(netip.AddrPortFrom(pods[a].addr(), 8080).String(), impatient); err == nil {
		t.Error("the machine reaches a pod without a service")
	}

	// A security group of the pod decides too.
	at := netip.AddrPortFrom(a.ingressAddress("web"), 80).String()
	group := a.group("web", from(9090))
	eventually(t, 5*time.Second, "the group closes the pod", func() error { return closed(edge.get, at) })
	a.change(group, func(g *securitygroup.Group) { g.Rules = append(g.Rules, from(8080)) })
	eventually(t, 5*time.Second, "the group opens the pod", func() error {
		_, err := edge.get(at, patient)
		return err
	})

	// A service without ready pods refuses connections at once.
	pods[a].report(husk.EventRunning, false)
	eventually(t, 5*time.Second, "the service refuses connections", func() error {
		began := time.Now()
		if _, err := edge.get(netip.AddrPortFrom(a.ingressAddress("web"), 80).String(), patient); err == nil || time.Since(began) > patient/2 {
			return fmt.Errorf("after %s: %w", time.Since(began), err)
		}
		return nil
	})
}
