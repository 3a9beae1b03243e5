// SPDX-License-Identifier: Apache-2.0

package networks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"husk"
	"husk/server/network"
	"husk/service"
	"husk/service/address"
)

// address reserves a floating address, and binds it to a target if there is one.
func (tn *tenant) address(name string, to *address.Target) address.Address {
	t := tn.lab.t
	t.Helper()
	a, err := tn.store.Addresses().Create(t.Context(), once(), address.Address{Name: name, Labels: map[string]string{}, Target: to}.Complete())
	must(t, err)
	return a
}

// bind binds a floating address to another target.
func (tn *tenant) bind(a address.Address, to *address.Target) {
	t := tn.lab.t
	t.Helper()
	_, err := tn.store.Addresses().Update(t.Context(), a.ID, nil, func(a address.Address) address.Address {
		a.Target = to
		return a
	})
	must(t, err)
}

func toPod(p *pod, ports ...address.Port) *address.Target {
	return &address.Target{PodID: &p.ID, Ports: ports}
}

// get connects from outside and returns what is answered.
func (o *outside) get(at string, limit time.Duration) (answer string, err error) {
	return (&machine{ns: o.ns}).get(at, limit)
}

func at(a address.Address, port int) string { return fmt.Sprintf("%s:%d", a.Status.Address, port) }

// answers checks that a pod answers, and that it sees the client's address.
func answers(get func(string, time.Duration) (string, error), at string, from netip.Addr, of ...*pod) error {
	answer, err := get(at, patient)
	if err != nil {
		return err
	}
	for _, p := range of {
		if strings.HasPrefix(answer, p.Name+" ") && (!from.IsValid() || strings.HasPrefix(answer, p.Name+" "+from.String()+":")) {
			return nil
		}
	}
	return fmt.Errorf("%s answers %q to %s", at, answer, from)
}

// closed checks that nothing answers.
func closed(get func(string, time.Duration) (string, error), at string) error {
	if answer, err := get(at, impatient); err == nil {
		return fmt.Errorf("%s answers %q", at, answer)
	}
	return nil
}

// TestFloatingAddressesLeadToPods reaches pods from outside, from another tenant and from themselves. Only what the addresses open is open, and it closes
// within a second.
func TestFloatingAddressesLeadToPods(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	o.serve(t)
	a, b := l.tenant(), l.tenant()
	whole, some, other := a.pod(l.nodes[0], nil), a.pod(l.nodes[1], nil), b.pod(l.nodes[2], nil)
	for _, p := range []*pod{whole, some, other} {
		p.serve(t, 8080)
		p.serve(t, 9090)
	}
	whole.echo(t, 7070)
	all := a.address("all", toPod(whole))
	web := a.address("web", toPod(some, address.Port{Port: 80, TargetPort: 8080}))
	theirs := b.address("web", toPod(other, address.Port{Port: 80, TargetPort: 8080}))

	eventually(t, 10*time.Second, "all ports of a pod are reached", func() error {
		return errors.Join(answers(o.get, at(all, 8080), o.addr, whole), answers(o.get, at(all, 9090), o.addr, whole))
	})
	eventually(t, 10*time.Second, "a published port is reached", func() error { return answers(o.get, at(web, 80), o.addr, some) })
	for _, p := range []string{at(web, 8080), at(web, 9090), at(theirs, 9090)} {
		if err := closed(o.get, p); err != nil {
			t.Error(err)
		}
	}
	// The pod's own connections have the address, and those of others have that of their network.
	eventually(t, 10*time.Second, "the pod reaches the host outside with its floating address", func() error {
		answer, err := whole.get(o.addr.String()+":80", patient)
		if err == nil && !strings.HasPrefix(answer, "outside "+all.Status.Address+":") {
			err = fmt.Errorf("the host outside answers %q", answer)
		}
		return err
	})
	if answer, err := some.get(o.addr.String()+":80", patient); err != nil || strings.Contains(answer, web.Status.Address) {
		t.Errorf("the host outside answers %q, %v", answer, err)
	}
	// Other tenants are outside, too. A tenant's own pods reach the addresses as well.
	for _, p := range []*pod{other, some, whole} {
		eventually(t, 10*time.Second, p.Name+" reaches the addresses", func() error {
			return errors.Join(answers(p.get, at(web, 80), netip.Addr{}, some), answers(p.get, at(theirs, 80), netip.Addr{}, other), answers(p.get, at(all, 9090), netip.Addr{}, whole))
		})
	}
	if err := errors.Join(closed(other.get, at(web, 9090)), closed(some.get, at(theirs, 9090))); err != nil {
		t.Error(err)
	}
	// What a pod answers to outside does not let it begin connections there.
	private := netip.MustParseAddr("10.66.0.2")
	o.add(t, private)
	if err := closed(whole.get, private.String()+":80"); err != nil {
		t.Errorf("a pod with a floating address reaches a private address: %v", err)
	}

	// An address that is bound to another pod leads there, and the first pod is closed. A reserved address leads nowhere.
	moved := time.Now()
	a.bind(web, toPod(whole, address.Port{Port: 80, TargetPort: 9090}))
	eventually(t, 5*time.Second, "the other pod answers", func() error { return answers(quick(o.get), at(web, 80), o.addr, whole) })
	t.Logf("the other pod answered after %s", time.Since(moved).Round(time.Millisecond))
	kept := dial(t, o.ns, at(all, 7070))
	must(t, kept.exchange())
	a.bind(all, nil)
	if shut := within1s(func() error { return closed(o.get, at(all, 8080)) }); shut != nil {
		t.Errorf("a second after the address was unbound: %v", shut)
	}
	if err := kept.exchange(); err == nil {
		t.Error("an established connection continues after the address was unbound")
	}
	must(t, a.store.Addresses().Delete(t.Context(), web.ID))
	if shut := within1s(func() error { return closed(o.get, at(web, 80)) }); shut != nil {
		t.Errorf("a second after the address was deleted: %v", shut)
	}
	if err := answers(o.get, at(theirs, 80), o.addr, other); err != nil {
		t.Errorf("the other tenant's address: %v", err)
	}
	for _, table := range []string{"Address_Set", "NAT", "Load_Balancer"} {
		if left := l.nbctl("--bare", "--columns=external_ids", "list", table); strings.Contains(left, "husk-address-"+web.ID.String()) || strings.Contains(left, "husk-address-"+all.ID.String()) {
			t.Errorf("%s still has rows of addresses that lead nowhere:\n%s", table, left)
		}
	}
}

// within1s repeats a check for a second, until it succeeds.
func within1s(check func() error) (err error) {
	for began := time.Now(); time.Since(began) < time.Second; time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return nil
		}
	}
	return err
}

// TestAFloatingAddressLeadsToAService spreads connections from outside over pods on three nodes, which see the client's address. When the gateway loses
// its power, another one takes over. A tenant without pods gets its address, too.
func TestAFloatingAddressLeadsToAService(t *testing.T) {
	l := start(t, network.Limits{})
	o := l.outside()
	a, empty := l.tenant(), l.tenant()
	labels := map[string]string{"app": "web"}
	selector := husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"web"}}}
	web := service.Service{Name: "web", Labels: map[string]string{}, Selector: selector, Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80, TargetPort: 8080}}, Affinity: service.AffinityNone}
	s, err := a.store.Services().Create(t.Context(), once(), web)
	must(t, err)
	public := a.address("web", &address.Target{ServiceID: &s.ID})
	none, err := empty.store.Services().Create(t.Context(), once(), web)
	must(t, err)
	unused := empty.address("web", &address.Target{ServiceID: &none.ID})
	var pods []*pod
	for _, n := range l.nodes {
		p := a.pod(n, labels)
		p.serve(t, 8080)
		p.serve(t, 9090)
		p.report(husk.EventRunning, true)
		pods = append(pods, p)
	}
	eventually(t, 10*time.Second, "the service is reached", func() error { return answers(o.get, at(public, 80), o.addr, pods...) })
	if err := errors.Join(closed(o.get, at(public, 8080)), closed(o.get, at(public, 9090))); err != nil {
		t.Error(err)
	}
	// A service without pods refuses connections at once.
	eventually(t, 10*time.Second, "a service without pods refuses connections", func() error {
		began := time.Now()
		if answer, err := o.get(at(unused, 80), patient); err == nil || time.Since(began) > patient/2 {
			return fmt.Errorf("after %s it answers %q, %w", time.Since(began), answer, err)
		}
		return nil
	})
	const connections = 600
	counts := map[string]int{}
	var mu sync.Mutex
	var calling sync.WaitGroup
	for range 10 {
		calling.Go(func() {
			for range connections / 10 {
				answer, err := o.get(at(public, 80), patient)
				name, from, _ := strings.Cut(answer, " ")
				if err != nil || !strings.HasPrefix(from, o.addr.String()+":") {
					name = "errors"
				}
				mu.Lock()
				counts[name]++
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	t.Logf("%d connections: %v", connections, counts)
	for _, p := range pods {
		if n := counts[p.Name]; n < connections/3*70/100 {
			t.Errorf("%s has got %d of %d connections", p.Name, n, connections)
		}
	}
	if counts["errors"] > 0 {
		t.Errorf("%d connections failed", counts["errors"])
	}
	pods[2].report(husk.EventRunning, false)
	eventually(t, 5*time.Second, "a pod that is not ready gets no connections from outside", func() error {
		for range 10 {
			if err := answers(o.get, at(public, 80), o.addr, pods[:2]...); err != nil {
				return err
			}
		}
		return nil
	})
	pods[2].report(husk.EventRunning, true)

	gateway := l.gatewayOf(a)
	for _, p := range pods {
		p.report(husk.EventRunning, p.node != gateway)
	}
	eventually(t, 5*time.Second, "the other pods answer", func() error {
		for range 10 {
			var rest []*pod
			for _, p := range pods {
				if p.node != gateway {
					rest = append(rest, p)
				}
			}
			if err := answers(o.get, at(public, 80), o.addr, rest...); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, gateway.host.Kill())
	killed := time.Now()
	eventually(t, 20*time.Second, "the service is reached through another gateway", func() error { _, err := o.get(at(public, 80), 300*time.Millisecond); return err })
	outage := time.Since(killed)
	t.Logf("not reached from outside for %s", outage.Round(10*time.Millisecond))
	if outage > 8*time.Second {
		t.Errorf("the service was not reached for %s", outage)
	}
}

// add gives the host outside one more address.
func (o *outside) add(t testing.TB, a netip.Addr) {
	t.Helper()
	must(t, within(o.ns, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}})
	}))
}

// echo accepts connections at a port until the test ends, and returns what they send.
func (p *pod) echo(t testing.TB, port int) {
	t.Helper()
	must(t, p.do(func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				context.AfterFunc(t.Context(), func() { _ = c.Close() })
				go func() { _, _ = io.Copy(c, c) }()
			}
		}()
		return nil
	}))
}

// held is a connection that stays open.
type held struct{ net.Conn }

// dial opens a connection from a namespace.
func dial(t testing.TB, ns, at string) held {
	t.Helper()
	var h held
	must(t, within(ns, func() (err error) {
		h.Conn, err = net.DialTimeout("tcp4", at, patient)
		return err
	}))
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// exchange sends a byte and waits for its echo.
func (h held) exchange() error {
	if err := h.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := h.Write([]byte{1}); err != nil {
		return err
	}
	_, err := h.Read(make([]byte, 1))
	return err
}
