// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/miekg/dns"

	"husk"
	"husk/nodeagent/names"
	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/service"
)

// namesSince asks for the names of the agent's node, and returns the response within a second or what has changed later.
func (s fixture) namesSince(known map[uuid.UUID]string, wait int) service.Update {
	s.t.Helper()
	list := []any{}
	for network, version := range known {
		list = append(list, map[string]any{"networkId": network, "version": version})
	}
	return as[service.Update](s.t, s.call("POST", "/v1/agent/names", "", map[string]any{"known": list, "waitSeconds": wait}), 200)
}

// A node gets the names of networks with pods on it, of no others, and only those that have changed.
func TestANodeGetsTheNamesOfItsNetworks(t *testing.T) {
	t.Parallel()
	s := open(t)
	c, stranger := s.tenant(), s.tenant()
	node, agent := s.node()
	elsewhere, other := s.node()
	if u := agent.namesSince(nil, 0); len(u.Zones) != 0 {
		t.Errorf("a node without pods gets %+v", u)
	}
	foreign := s.createPod(stranger)
	s.place(elsewhere, stranger, foreign.ID)
	pod := s.createPodWith(c, 500, 128, map[string]any{"app": "db"}, map[string]any{})
	for name, headless := range map[string]bool{"web": false, "db": true} {
		s.call("POST", "/v1/services", c.token, map[string]any{"name": name, "selector": "app=db", "headless": headless, "ports": []any{map[string]any{"name": "sql", "port": 5432, "targetPort": 6432}}})
	}
	updates := make(chan service.Update, 1)
	go func() { updates <- agent.namesSince(nil, 30) }()
	s.place(node, c, pod.ID)
	u := <-updates
	if len(u.Zones) != 1 || len(u.Zones[0].Pods) != 1 || u.Zones[0].Pods[0].Name != pod.Name || u.Zones[0].Suffix != service.DefaultSuffix {
		t.Fatalf("after a pod was placed, the names are %+v", u)
	}
	zone := u.Zones[0]
	known := map[uuid.UUID]string{zone.NetworkID: zone.Version}
	if u := agent.namesSince(known, 0); len(u.Zones)+len(u.RemovedNetworks) != 0 {
		t.Errorf("an agent that knows everything gets %+v", u)
	}
	if u := other.namesSince(known, 0); len(u.Zones) != 1 || u.Zones[0].NetworkID == zone.NetworkID || len(u.RemovedNetworks) != 1 {
		t.Errorf("another node gets %+v", u)
	}

	began := time.Now()
	go func() { updates <- agent.namesSince(known, 30) }()
	s.report(agent, pod.ID, 1, husk.EventRunning)
	apply := func(u service.Update) {
		t.Helper()
		if len(u.Zones) != 1 {
			t.Fatalf("the names are %+v", u)
		}
		var err error
		if zone, err = zone.With(u.Zones[0]); err != nil {
			t.Fatal(err)
		}
		known[zone.NetworkID] = zone.Version
	}
	apply(<-updates)
	for len(zone.Services[0].Pods) == 0 { // that it was starting
		apply(agent.namesSince(known, 30))
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the agent knows after %s that the pod is ready", took)
	}
	db, web := zone.Services[0], zone.Services[1]
	if db.Name != "db" || db.Address != "" || fmt.Sprint(db.Pods) != "["+pod.Name+"]" || db.Ports[0].Port != 6432 {
		t.Errorf("the headless service is %+v", db)
	}
	if web.Name != "web" || web.Address == "" || len(web.Pods) != 0 || web.Ports[0].Port != 5432 {
		t.Errorf("the service is %+v", web)
	}

	go func() { updates <- agent.namesSince(known, 30) }()
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	if apply(<-updates); len(zone.Services[0].Pods) != 0 || len(zone.Pods) != 1 {
		t.Errorf("while the pod is stopping, the names are %+v", zone)
	}
	go func() { updates <- agent.namesSince(known, 30) }()
	now := as[openapi.Pod](t, s.call("GET", "/v1/pods/"+pod.ID.String(), c.token, nil), 200)
	s.report(agent, pod.ID, int(now.Generation), husk.EventGone)
	for u = <-updates; len(u.Zones) > 0; u = agent.namesSince(known, 30) { // that the pod is gone
		apply(u)
	}
	if len(u.RemovedNetworks) != 1 || u.RemovedNetworks[0] != zone.NetworkID {
		t.Errorf("without pods of the network, the node gets %+v", u)
	}
}

// podSide makes queries from the loopback interface look as if a pod had sent them, as the node's network does.
type podSide struct {
	net.PacketConn

	pod netip.Addr
}

func (p podSide) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.PacketConn.ReadFrom(b)
	if udp, ok := from.(*net.UDPAddr); ok {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.pod, udp.AddrPort().Port()))
	}
	return n, from, err
}

func (p podSide) WriteTo(b []byte, to net.Addr) (int, error) {
	if udp, ok := to.(*net.UDPAddr); ok {
		to = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), udp.AddrPort().Port()))
	}
	return p.PacketConn.WriteTo(b, to)
}

// From the API to the answer: with a real agent's set of name servers, a pod sees a change within a second.
func TestAPodSeesAChangedNameWithinASecond(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPodWith(c, 500, 128, map[string]any{"app": "db"}, map[string]any{})
	s.place(node, c, pod.ID)
	api, err := agentclient.NewClient(agent.agentURL, agentclient.WithHTTPClient(agent.web))
	if err != nil {
		t.Fatal(err)
	}
	set, err := names.Open(t.TempDir(), names.Config{Metrics: names.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	network := agent.namesSince(nil, 30).Zones[0].NetworkID
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { set.Follow(ctx, api) })
	running.Go(func() {
		if err := set.Server(network).Serve(ctx, podSide{packets, netip.MustParseAddr(*pod.Status.Address)}, streams); err != nil {
			t.Error(err)
		}
	})
	until := func(what, name string, ok func(m *dns.Msg) bool) {
		t.Helper()
		began := time.Now()
		var last *dns.Msg
		for time.Since(began) < 20*time.Second {
			m, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), packets.LocalAddr().String())
			if last = m; err == nil && ok(m) {
				t.Logf("%s: seen after %s", what, time.Since(began))
				if time.Since(began) > 2*time.Second { // other tests run too
					t.Errorf("%s: seen after %s", what, time.Since(began))
				}
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Fatalf("%s: %v", what, last)
	}
	has := func(n int) func(m *dns.Msg) bool {
		return func(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) == n }
	}
	until("the pod knows its own name", pod.Name+".pods.husk.internal.", has(1))
	until("a service does not exist", "db.husk.internal.", func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError })
	s.call("POST", "/v1/services", c.token, map[string]any{"name": "db", "selector": "app=db", "headless": true})
	until("a service is created", "db.husk.internal.", has(0))
	s.report(agent, pod.ID, 1, husk.EventRunning)
	until("a pod is ready", "db.husk.internal.", has(1))
	s.call("PATCH", "/v1/pods/"+pod.ID.String(), c.token, map[string]any{"labels": map[string]any{"app": nil}})
	until("a pod has lost its label", "db.husk.internal.", has(0))
	s.call("PATCH", "/v1/pods/"+pod.ID.String(), c.token, map[string]any{"name": "renamed"})
	until("a pod has another name", "renamed.pods.husk.internal.", has(1))
}
