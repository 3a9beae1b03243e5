// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"husk"
	"husk/server/network"
	"husk/service"
	"husk/service/address"
	"husk/service/securitygroup"
	"husk/store/lifecycle"
)

// group creates a security group of the pods with role=NAME.
func (tn *tenant) group(name string, rules ...securitygroup.Rule) securitygroup.Group {
	t := tn.lab.t
	t.Helper()
	g := securitygroup.Group{
		Name: name, Labels: map[string]string{}, Selector: husk.Selector{{Key: "role", Op: husk.OpIn, Values: []string{name}}}, Rules: rules,
	}.Complete(false)
	must(t, g.Check())
	made, err := tn.store.SecurityGroups().Create(t.Context(), once(), g)
	must(t, err)
	return made
}

// change changes a group.
func (tn *tenant) change(g securitygroup.Group, f func(g *securitygroup.Group)) {
	t := tn.lab.t
	t.Helper()
	_, err := tn.store.SecurityGroups().Update(t.Context(), g.ID, nil, func(g securitygroup.Group) (securitygroup.Group, error) {
		f(&g)
		return g.Complete(true), nil
	})
	must(t, err)
}

// join lets a pod name these groups, and no others.
func (p *pod) join(groups ...string) {
	t := p.tenant.lab.t
	t.Helper()
	_, err := p.tenant.store.UpdatePod(t.Context(), p.ID, lifecycle.Names{SecurityGroups: &groups})
	must(t, err)
}

func role(name string) map[string]string { return map[string]string{"role": name} }

func from(port int, peers ...securitygroup.Peer) securitygroup.Rule {
	return securitygroup.Rule{Direction: securitygroup.Ingress, Protocol: securitygroup.TCP, Ports: []securitygroup.Port{{Port: port}}, Peers: peers}
}

func peer(group string) securitygroup.Peer { return securitygroup.Peer{Group: group} }

func (p *pod) at(port int) string { return fmt.Sprintf("%s:%d", p.addr(), port) }

// soon repeats a check for a second, and says how long it took.
func soon(t *testing.T, what string, check func() error) {
	t.Helper()
	began := time.Now()
	if err := within1s(check); err != nil {
		t.Errorf("%s: not within a second: %v", what, err)
		return
	}
	t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
}

// quick gives up soon, so that a check shows when something changes and not when TCP retries.
func quick(get func(string, time.Duration) (string, error)) func(string, time.Duration) (string, error) {
	return func(at string, _ time.Duration) (string, error) { return get(at, 100*time.Millisecond) }
}

// TestSecurityGroupsDecideAboutConnections connects pods on three nodes. A change of groups, of their rules, and of the groups of a pod is in force on
// all nodes within a second, also for connections that exist already.
func TestSecurityGroupsDecideAboutConnections(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	a, b := l.tenant(), l.tenant()
	web := a.group("web")
	a.change(web, func(g *securitygroup.Group) { g.Restricts = nil })
	db := a.group("db", from(8080, peer("web")), from(7070, peer("web")))
	pods := map[string]*pod{}
	for i, name := range []string{"db", "web", "other"} {
		p := a.pod(l.nodes[i], role(name))
		p.serve(t, 8080)
		p.serve(t, 9090)
		p.echo(t, 7070)
		pods[name] = p
	}
	theirs := b.pod(l.nodes[0], role("web"))
	d, w, x := pods["db"], pods["web"], pods["other"]

	eventually(t, 10*time.Second, "a pod of the peer group reaches the port", func() error { return answers(w.get, d.at(8080), w.addr(), d) })
	if err := errors.Join(closed(w.get, d.at(9090)), closed(x.get, d.at(8080)), closed(x.get, d.at(9090)), closed(theirs.get, d.at(8080))); err != nil {
		t.Error(err)
	}
	for _, from := range []*pod{d, x} { // what is not restricted is open
		if err := errors.Join(answers(from.get, w.at(8080), from.addr(), w), answers(from.get, w.at(9090), from.addr(), w)); err != nil {
			t.Error(err)
		}
	}

	x.join("web")
	soon(t, "a pod that joins the peer group reaches the port", func() error { return answers(quick(x.get), d.at(8080), x.addr(), d) })
	kept, of := dial(t, x.ns, d.at(7070)), dial(t, w.ns, d.at(7070))
	must(t, errors.Join(kept.exchange(), of.exchange()))
	x.join()
	soon(t, "a pod that leaves it does not", func() error { return closed(quick(x.get), d.at(8080)) })
	if err := kept.exchange(); err == nil {
		t.Error("an established connection continues after the pod has left the group")
	}
	if err := of.exchange(); err != nil {
		t.Errorf("the connection of a pod that is still in the group: %v", err)
	}

	// Rules about addresses and ranges of ports.
	a.change(db, func(g *securitygroup.Group) {
		g.Rules = []securitygroup.Rule{{
			Direction: securitygroup.Ingress, Protocol: securitygroup.TCP, Ports: []securitygroup.Port{{Port: 9000, EndPort: 9099}},
			Peers: []securitygroup.Peer{{CIDR: a.cidr.Masked().String(), Except: []string{netip.PrefixFrom(w.addr(), 32).String()}}},
		}}
	})
	soon(t, "new rules are in force", func() error { return answers(quick(x.get), d.at(9090), x.addr(), d) })
	if err := errors.Join(closed(w.get, d.at(9090)), closed(x.get, d.at(8080)), closed(w.get, d.at(8080))); err != nil {
		t.Error(err)
	}
	if err := of.exchange(); err == nil {
		t.Error("an established connection continues after its rule is gone")
	}

	// From outside, an address opens the port, and a rule has to allow it too.
	public := a.address("db", &address.Target{PodID: &d.ID, Ports: []address.Port{{Protocol: "TCP", Port: 80, TargetPort: 8080}, {Protocol: "TCP", Port: 90, TargetPort: 9090}}})
	free := a.address("free", &address.Target{PodID: &x.ID, Ports: []address.Port{{Protocol: "TCP", Port: 80, TargetPort: 8080}}})
	eventually(t, 10*time.Second, "a pod without groups is reached from outside", func() error { return answers(o.get, at(free, 80), o.addr, x) })
	if err := closed(o.get, at(public, 80)); err != nil {
		t.Errorf("no rule allows it: %v", err)
	}
	a.change(db, func(g *securitygroup.Group) {
		g.Rules = []securitygroup.Rule{from(8080, securitygroup.Peer{CIDR: netip.PrefixFrom(o.addr, 32).String()})}
	})
	soon(t, "a rule opens the address", func() error { return answers(quick(o.get), at(public, 80), o.addr, d) })
	if err := errors.Join(closed(o.get, at(public, 90)), closed(x.get, d.at(8080))); err != nil {
		t.Error(err)
	}

	// What a pod sends. A service is its pods, and names need no rule.
	s, err := a.store.Services().Create(t.Context(), once(), service.Service{
		Name: "web", Labels: map[string]string{}, Selector: husk.Selector{{Key: "role", Op: husk.OpIn, Values: []string{"web"}}},
		Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080}}, Affinity: service.AffinityNone,
	})
	must(t, err)
	w.report(husk.EventRunning, true)
	virtual := s.Status.Address + ":80"
	eventually(t, 5*time.Second, "the service is reached", func() error { return answers(x.get, virtual, x.addr(), w) })
	locked := a.group("locked", securitygroup.Rule{Direction: securitygroup.Egress, Protocol: securitygroup.TCP, Ports: []securitygroup.Port{{Port: 8080}}, Peers: []securitygroup.Peer{peer("web")}})
	a.change(locked, func(g *securitygroup.Group) { g.Restricts = []securitygroup.Direction{securitygroup.Egress} })
	x.join("locked")
	soon(t, "a pod sends only what rules allow", func() error { return closed(quick(x.get), w.at(9090)) })
	if err := errors.Join(answers(x.get, w.at(8080), x.addr(), w), answers(x.get, virtual, x.addr(), w), closed(x.get, o.addr.String()+":80"), answers(w.get, x.at(9090), w.addr(), x)); err != nil {
		t.Error(err)
	}
	// All pods of a service are in its groups.
	x.join()
	soon(t, "without the group, the pod sends everything", func() error { return answers(quick(x.get), w.at(9090), x.addr(), w) })
	others, err := a.store.Services().Create(t.Context(), once(), service.Service{
		Name: "others", Labels: map[string]string{}, Selector: husk.Selector{{Key: "role", Op: husk.OpIn, Values: []string{"other"}}},
		Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080}}, Affinity: service.AffinityNone, SecurityGroups: []string{"locked"},
	})
	must(t, err)
	soon(t, "a pod of the service sends only what rules allow", func() error { return closed(quick(x.get), w.at(9090)) })
	must(t, answers(x.get, w.at(8080), x.addr(), w))
	must(t, a.store.Services().Delete(t.Context(), others.ID))

	// Without groups, everything inside is open again.
	must(t, a.store.SecurityGroups().Delete(t.Context(), locked.ID))
	must(t, a.store.SecurityGroups().Delete(t.Context(), db.ID))
	soon(t, "without groups, everything inside is open", func() error {
		return errors.Join(answers(quick(x.get), w.at(9090), x.addr(), w), answers(quick(x.get), d.at(9090), x.addr(), d))
	})
}

// TestNothingPassesASecurityGroup sends to a pod, which a group protects, what a pod of another group and another tenant can send: packets with the
// address of a pod that may, fragments, and packets of connections that nobody has begun.
func TestNothingPassesASecurityGroup(t *testing.T) {
	l := start(t, network.Limits{})
	a, b := l.tenant(), l.tenant()
	a.group("web")
	a.group("db", securitygroup.Rule{Direction: securitygroup.Ingress, Protocol: securitygroup.UDP, Ports: []securitygroup.Port{{Port: 9}}, Peers: []securitygroup.Peer{peer("web")}})
	d, w, x, theirs := a.pod(l.nodes[0], role("db")), a.pod(l.nodes[1], role("web")), a.pod(l.nodes[1], nil), b.pod(l.nodes[1], role("web"))
	s := &sightings{seen: map[string]string{}}
	d.watch(s.by("the pod"))
	seen := func(name string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.seen[name] != ""
	}
	send := func(from *pod, packet []byte) {
		from.inject(ethernet(routerMAC(from), from.port.MAC, 0x0800, packet)) // the router knows where the pod is
		from.inject(ethernet(d.port.MAC, from.port.MAC, 0x0800, packet))
	}
	eventually(t, 10*time.Second, "the pod that may is seen", func() error {
		send(w, datagram(w.addr(), d.addr(), "attack:allowed;"))
		time.Sleep(50 * time.Millisecond)
		if !seen("allowed") {
			return errors.New("it is not")
		}
		return nil
	})
	const more, again = 0x2000, 1
	for _, packet := range map[string][]byte{
		"its own address":        datagram(x.addr(), d.addr(), "attack:its own address;"),
		"the address of another": datagram(w.addr(), d.addr(), "attack:the address of another;"),
		"the router's address":   datagram(x.port.Gateway, d.addr(), "attack:the router's address;"),
		"the pod's own address":  datagram(d.addr(), d.addr(), "attack:the pod's own address;"),
		"hairpin":                datagram(netip.MustParseAddr("169.254.64.1"), d.addr(), "attack:hairpin;"),
		"the name server":        datagram(netip.MustParseAddr("169.254.64.2"), d.addr(), "attack:the name server;"),
		"a first fragment":       ipv4(x.addr(), d.addr(), 17, more, udp(9, 9, "attack:a first fragment;")),
		"a last fragment":        ipv4(x.addr(), d.addr(), 17, again, []byte("attack:a last fragment;")),
		"an answer":              ipv4(x.addr(), d.addr(), 6, 0, append([]byte{0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0}, "attack:an answer;"...)),
		"an error":               ipv4(x.addr(), d.addr(), 1, 0, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, datagram(d.addr(), x.addr(), "attack:an error;")...)),
	} {
		for range 3 {
			send(x, packet)
		}
	}
	for range 3 {
		send(theirs, datagram(theirs.addr(), d.addr(), "attack:another tenant;"))
		send(theirs, datagram(w.addr(), d.addr(), "attack:another tenant with an address;"))
	}
	time.Sleep(500 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.seen {
		if name != "allowed" {
			t.Errorf("a packet passes the group: %s", name)
		}
	}
}
