// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
)

func TestAServiceThatCouldNotWorkIsRefused(t *testing.T) {
	t.Parallel()
	good := func() Service {
		return Service{Name: "web", Selector: husk.Selector{{Key: "app", Op: husk.OpExists}}, Ports: []Port{{Name: "http", Port: 80}, {Name: "dns", Protocol: UDP, Port: 80}}}
	}
	for field, change := range map[string]func(*Service){
		"":                       func(*Service) {},
		"selector":               func(s *Service) { s.Selector = nil },
		"ports":                  func(s *Service) { s.Ports = nil },
		"ports[0].name":          func(s *Service) { s.Ports[0].Name = "" },
		"ports[1].name":          func(s *Service) { s.Ports[1].Name = "http" },
		"ports[1].port":          func(s *Service) { s.Ports[1].Protocol = TCP },
		"affinity":               func(s *Service) { s.Headless, s.Affinity = true, AffinityClient },
		"affinityTimeoutSeconds": func(s *Service) { s.AffinityTimeoutSeconds = 5 },
	} {
		s := good()
		change(&s)
		got := ""
		if refused, ok := errors.AsType[*husk.Error](s.Complete().Check()); ok {
			got = refused.Field
		}
		if got != field {
			t.Errorf("the field %q is refused, want %q", got, field)
		}
	}
	headless := good()
	headless.Headless, headless.Ports = true, nil
	if err := headless.Complete().Check(); err != nil {
		t.Errorf("a headless service without ports is refused: %v", err)
	}
}

func TestTheDefaultsOfAService(t *testing.T) {
	t.Parallel()
	s := Service{Selector: husk.Selector{
		{Key: "app", Op: husk.OpIn, Values: []string{"web"}},
		{Key: "tier", Op: husk.OpIn, Values: []string{"back", "front"}},
		{Key: "track", Op: husk.OpNotIn, Values: []string{"test"}},
		{Key: "zone", Op: husk.OpNotIn, Values: []string{"a", "b"}},
		{Key: "ssd", Op: husk.OpExists},
		{Key: "old", Op: husk.OpAbsent},
	}, Ports: []Port{{Port: 80}, {Port: 53, TargetPort: 5353, Protocol: UDP}}, Affinity: AffinityClient}
	got := s.Complete()
	if diff := cmp.Diff([]Port{{"", TCP, 80, 80}, {"", UDP, 53, 5353}}, got.Ports); diff != "" {
		t.Error(diff)
	}
	if want := "app=web,tier in (back,front),track!=test,zone notin (a,b),ssd,!old"; got.SelectorText != want {
		t.Errorf("the selector is %q, want %q", got.SelectorText, want)
	}
	if got.AffinityTimeoutSeconds != DefaultAffinitySeconds || s.Ports[0].Protocol != "" {
		t.Errorf("the service is %+v, and was %+v", got, s)
	}
}

// Pods of other tenants and networks are never endpoints, whatever labels they have.
func TestEndpointsAreReadyPodsFirst(t *testing.T) {
	t.Parallel()
	tenant, network := uuid.New(), uuid.New()
	s := Service{TenantID: tenant, NetworkID: network, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"web"}}}}
	pod := func(name, address string, change func(*Pod)) Pod {
		p := Pod{ID: uuid.New(), TenantID: tenant, NetworkID: network, Name: name, Labels: map[string]string{"app": "web"}, Address: netip.MustParseAddr(address), Running: true, Ready: true}
		if change != nil {
			change(&p)
		}
		return p
	}
	pods := []Pod{
		pod("notready", "100.64.0.2", func(p *Pod) { p.Ready = false }),
		pod("stopping", "100.64.0.3", func(p *Pod) { p.Running = false }),
		pod("b", "100.64.0.10", nil),
		pod("a", "100.64.0.9", nil),
		pod("other", "100.64.0.4", func(p *Pod) { p.Labels = map[string]string{"app": "db"} }),
		pod("foreign", "100.64.0.5", func(p *Pod) { p.TenantID = uuid.New() }),
		pod("elsewhere", "100.64.0.6", func(p *Pod) { p.NetworkID = uuid.New() }),
		pod("nowhere", "100.64.0.7", func(p *Pod) { p.Address = netip.Addr{} }),
	}
	var names []string
	for _, e := range s.Endpoints(pods) {
		names = append(names, e.PodName)
	}
	if diff := cmp.Diff([]string{"a", "b", "notready", "stopping"}, names); diff != "" {
		t.Error(diff)
	}
	if ready := Ready(s.Endpoints(pods)); len(ready) != 2 {
		t.Errorf("the ready endpoints are %+v", ready)
	}
	if status := s.WithEndpoints(pods).Status; status.ReadyEndpoints != 2 || status.NotReadyEndpoints != 2 || len(status.Endpoints) != 4 {
		t.Errorf("the status is %+v", status)
	}
	var many []Pod
	for range MaxEndpoints + 1 {
		many = append(many, pod("x", "100.64.0.2", nil))
	}
	if status := s.WithEndpoints(many).Status; len(Ready(s.Endpoints(many))) != MaxEndpoints || len(status.Endpoints) != MaxShown || status.ReadyEndpoints != MaxEndpoints+1 {
		t.Errorf("%d endpoints are listed, and %d counted", len(status.Endpoints), status.ReadyEndpoints)
	}
}

func BenchmarkEndpoints(b *testing.B) {
	tenant, network := uuid.New(), uuid.New()
	pods := make([]Pod, 1000)
	for i := range pods {
		pods[i] = Pod{
			ID: uuid.New(), TenantID: tenant, NetworkID: network, Labels: map[string]string{"app": "web", "tier": "front", "track": "stable"}, Running: true, Ready: true,
			Address: netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}),
		}
	}
	s := Service{TenantID: tenant, NetworkID: network, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"db"}}, {Key: "tier", Op: husk.OpNotIn, Values: []string{"back"}}}}
	for b.Loop() {
		for range 100 {
			s.Endpoints(pods)
		}
	}
}
