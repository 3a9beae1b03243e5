// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// Pods of other tenants are never endpoints, whatever labels they have. Those of all networks that a router connects are, with an address there.
func TestEndpointsAreReadyPodsFirst(t *testing.T) {
	t.Parallel()
	tenant, network := uuid.New(), uuid.New()
	s := Service{TenantID: tenant, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"web"}}}}
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
		pod("back", "100.64.0.11", func(p *Pod) { p.NetworkID = uuid.New() }),
		pod("both", "172.16.0.2", func(p *Pod) {
			p.Interfaces = []husk.Interface{{NetworkID: uuid.New(), Address: netip.MustParsePrefix("172.16.0.2/24"), Isolated: true}, {NetworkID: uuid.New(), Address: netip.MustParsePrefix("100.64.0.12/24")}}
		}),
		pod("isolated", "172.16.0.3", func(p *Pod) {
			p.Interfaces = []husk.Interface{{NetworkID: uuid.New(), Address: netip.MustParsePrefix("172.16.0.3/24"), Isolated: true}}
		}),
		pod("nowhere", "100.64.0.7", func(p *Pod) { p.Address = netip.Addr{} }),
	}
	var names []string
	for _, e := range s.Endpoints(pods) {
		names = append(names, e.PodName+" "+e.Address)
	}
	if diff := cmp.Diff([]string{"a 100.64.0.9", "b 100.64.0.10", "back 100.64.0.11", "both 100.64.0.12", "notready 100.64.0.2", "stopping 100.64.0.3"}, names); diff != "" {
		t.Error(diff)
	}
	headless := s
	headless.Headless = true
	if all := headless.Endpoints(pods); len(all) != 7 {
		t.Errorf("the headless service has the endpoints %+v", all)
	}
	if ready := Ready(s.Endpoints(pods)); len(ready) != 4 {
		t.Errorf("the ready endpoints are %+v", ready)
	}
	if status := s.WithEndpoints(pods).Status; status.ReadyEndpoints != 4 || status.NotReadyEndpoints != 2 || len(status.Endpoints) != 6 {
		t.Errorf("the status is %+v", status)
	}
	quiet := []Pod{pod("here", "100.64.0.20", nil), pod("there", "100.64.0.21", func(p *Pod) { p.Silent = true })}
	if ready := Ready(s.Endpoints(quiet)); len(ready) != 1 || ready[0].PodName != "here" {
		t.Errorf("with a silent node, the ready endpoints are %+v", ready)
	}
	quiet[0].Silent = true
	if ready := Ready(s.Endpoints(quiet)); len(ready) != 2 {
		t.Errorf("with silent nodes only, the ready endpoints are %+v", ready)
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
	s := Service{TenantID: tenant, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"db"}}, {Key: "tier", Op: husk.OpNotIn, Values: []string{"back"}}}}
	for b.Loop() {
		for range 100 {
			s.Endpoints(pods)
		}
	}
}

// A random history of a network: from every earlier version, the changes lead to the latest one.
func TestChangesOfAZoneLeadToIt(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a fixed sequence
	network, tenant := uuid.New(), uuid.New()
	pods := map[string]Pod{}
	var services []Service
	versions := []Zone{}
	short := 0
	for range 200 {
		for range 1 + random.IntN(4) {
			name := "p" + strconv.Itoa(random.IntN(40))
			switch p, exists := pods[name]; {
			case !exists:
				pods[name] = Pod{
					ID: uuid.New(), TenantID: tenant, NetworkID: network, Name: name, Labels: map[string]string{"app": strconv.Itoa(random.IntN(3))}, Running: true,
					Address: netip.AddrFrom4([4]byte{100, 64, byte(random.IntN(4)), byte(random.IntN(250))}),
				}
			case random.IntN(3) == 0:
				delete(pods, name)
			default:
				p.Ready = !p.Ready
				pods[name] = p
			}
		}
		if i := random.IntN(12); i < len(services) {
			services = slices.Delete(slices.Clone(services), i, i+1)
		} else if i > 8 {
			services = append(services, Service{
				TenantID: tenant, Name: "s" + uuid.NewString(), Headless: i > 9, Ports: []Port{{Name: "http", Protocol: TCP, Port: i, TargetPort: i}},
				Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{strconv.Itoa(random.IntN(3))}}},
			})
		}
		now := NewZone(Of{Network: network, Suffix: DefaultSuffix, Ranges: []string{"100.64.0.0/22"}}, slices.Collect(maps.Values(pods)), services)
		for _, old := range versions[max(0, len(versions)-5):] {
			raw, err := json.Marshal(now.ChangesSince(old)) // as it is sent
			if err != nil {
				t.Fatal(err)
			}
			var changes Zone
			if err := json.Unmarshal(raw, &changes); err != nil {
				t.Fatal(err)
			}
			if changes.Since != "" {
				short++
			}
			got, err := old.With(changes)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(now, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
		versions = append(versions, now)
	}
	if short < 500 {
		t.Errorf("only %d changes are shorter than the zone", short)
	}
	other := versions[0]
	other.Suffix = "example.com"
	if changes := other.ChangesSince(versions[0]); changes.Since != "" {
		t.Error("another suffix is no whole zone")
	}
}

func TestSuffixesOfNames(t *testing.T) {
	t.Parallel()
	for suffix, good := range map[string]bool{"husk.internal": true, "cluster": true, "": false, ".": false, "a..b": false, "Husk.internal": false, "-a.b": false, "a.b.": false, strings.Repeat("a.", 60) + "a": false} {
		if err := CheckSuffix(suffix); (err == nil) != good {
			t.Errorf("%q: %v", suffix, err)
		}
	}
}
