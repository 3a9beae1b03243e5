// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"husk"
	"husk/server/network"
)

// network creates a network of the tenant.
func (tn *tenant) network(name, cidr, cidr6 string, isolated bool) {
	tn.lab.t.Helper()
	n := husk.Network{Name: name, Labels: map[string]string{}, Isolated: isolated}
	if cidr != "" {
		n.CIDR = netip.MustParsePrefix(cidr)
	}
	if cidr6 != "" {
		n.IPv6CIDR = netip.MustParsePrefix(cidr6)
	}
	must(tn.lab.t, n.Check())
	_, err := tn.store.Networks().Create(tn.lab.t.Context(), once(), n)
	must(tn.lab.t, err)
}

func in(networks ...string) (all []husk.PodNetwork) {
	for _, n := range networks {
		name, address, _ := strings.Cut(n, "=")
		all = append(all, husk.PodNetwork{Network: name, Address: address})
	}
	return all
}

// reaches checks that a pod is answered by another one at an address of it.
func (p *pod) reaches(t *testing.T, to *pod, at netip.Addr) {
	t.Helper()
	eventually(t, 5*time.Second, fmt.Sprintf("%s reaches %s at %s", p.Name, to.Name, at), func() error {
		answer, err := p.get(netip.AddrPortFrom(at, 80).String(), patient)
		if err == nil && !strings.HasPrefix(answer, to.Name+" ") {
			err = fmt.Errorf("the answer is %q", answer)
		}
		return err
	})
}

// TestTenantsChooseTheSameRanges gives two tenants networks with the same ranges, and pods with the same addresses on the same nodes. Each pod reaches
// those of its own tenant, over IPv4 and IPv6, and never one of the other's.
func TestTenantsChooseTheSameRanges(t *testing.T) {
	l := start(t, network.Limits{})
	var pods []*pod
	for range 2 {
		tn := l.tenant()
		tn.network("back", "10.1.0.0/24", "fd00:1::/64", false)
		for i, n := range l.nodes {
			p := tn.pod(n, nil, in(fmt.Sprintf("back=10.1.0.%d", 10+i))...)
			p.serve(t, 80)
			pods = append(pods, p)
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			if from.tenant != to.tenant {
				continue // it has the address of one of its own
			}
			from.reaches(t, to, to.port.Address.Addr())
			from.reaches(t, to, to.port.Address6.Addr())
		}
	}
	if a := pods[1].port.Address6.String(); a != "fd00:1::b/64" {
		t.Errorf("the pod 10.1.0.11 has the IPv6 address %s", a)
	}
	if _, err := pods[0].get("[fe80::1%eth0]:80", impatient); err == nil {
		t.Error("a pod reaches a link-local address")
	}
}

// TestPodsInSeveralNetworks connects pods with one network, with two and with isolated ones.
func TestPodsInSeveralNetworks(t *testing.T) {
	l := start(t, network.Limits{})
	tn := l.tenant()
	tn.network("front", "", "", false)
	tn.network("back", "192.168.7.0/24", "fd00:7::/64", false)
	tn.network("closed", "172.20.0.0/28", "", true)
	front := tn.pod(l.nodes[0], nil, in("front")...)
	both := tn.pod(l.nodes[1], nil, in("front", "back", "closed")...)
	back := tn.pod(l.nodes[2], nil, in("back")...)
	closed := tn.pod(l.nodes[0], nil, in("closed")...)
	plain := tn.pod(l.nodes[2], nil)
	for _, p := range []*pod{front, both, back, closed, plain} {
		p.serve(t, 80)
	}
	inBack, inClosed := both.more[0], both.more[1]
	for _, from := range []*pod{front, back, plain} {
		from.reaches(t, both, both.addr())
		from.reaches(t, both, inBack.Address.Addr()) // through the router or directly; the answer takes the same way
		from.reaches(t, plain, plain.addr())
		from.reaches(t, front, front.addr())
	}
	back.reaches(t, both, inBack.Address6.Addr())
	both.reaches(t, back, back.port.Address6.Addr())
	both.reaches(t, closed, closed.addr())
	closed.reaches(t, both, inClosed.Address.Addr())
	for _, from := range []*pod{front, back, plain} {
		if _, err := from.get(netip.AddrPortFrom(closed.addr(), 80).String(), impatient); err == nil {
			t.Errorf("%s reaches a pod in an isolated network", from.Name)
		}
	}
	for _, to := range []*pod{front, back, plain} {
		if _, err := closed.get(netip.AddrPortFrom(to.addr(), 80).String(), impatient); err == nil {
			t.Errorf("a pod in an isolated network reaches %s", to.Name)
		}
	}

	// A pod that leaves takes all its ports along.
	_, err := tn.store.DeletePod(t.Context(), both.ID)
	must(t, err)
	must(t, l.store.Control().Report(t.Context(), both.node.id, []husk.PodReport{{PodID: both.ID, Placement: 1, Generation: 100, Event: husk.EventGone}}))
	eventually(t, 5*time.Second, "the ports are removed", func() error {
		if all := l.nbctl("--columns=name", "list", "Logical_Switch_Port"); strings.Contains(all, both.ID.String()) {
			return fmt.Errorf("the northbound database has %s", all)
		}
		return nil
	})
	both.node.do(func() error { return both.node.net.Detach(t.Context(), both.ID) })
}
