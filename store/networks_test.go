// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/store"
)

func networkOf(name, cidr string) husk.Network {
	n := husk.Network{Name: name, Labels: map[string]string{}}
	if cidr != "" {
		n.CIDR = netip.MustParsePrefix(cidr)
	}
	return n
}

// podIn creates a pod in networks.
func (h fixture) podIn(tenant husk.Tenant, image husk.Image, name string, networks ...husk.PodNetwork) (husk.Pod, error) {
	h.t.Helper()
	spec := specOf(image)
	spec.Networks = networks
	return h.as(tenant.ID).CreatePod(h.t.Context(), once(), name, map[string]string{}, nil, spec)
}

// A tenant's own networks do not overlap, nor what the platform uses. Without a choice, a network gets a range that is free for the tenant.
func TestRangesOfNetworks(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Networks = 5
	tenant, other := h.tenantWith(quota), h.tenantWith(quota)
	as := h.as(tenant.ID)
	create := func(n husk.Network) (husk.Network, error) { return as.Networks().Create(t.Context(), once(), n) }
	made, err := create(networkOf("back", "192.168.4.0/22"))
	if must(t, made, err); made.Status.Gateway != "192.168.4.1" || made.Status.Addresses != 1021 {
		t.Errorf("the network is %+v", made)
	}
	for range 2 { // each tenant has it from the start
		_, err = create(networkOf(husk.DefaultNetwork, ""))
		wantCode(t, err, husk.CodeNameTaken)
	}
	chosen, err := create(networkOf("chosen", ""))
	if must(t, chosen, err); chosen.CIDR.Overlaps(netip.MustParsePrefix(tenant.NetworkCIDR)) || chosen.CIDR.Bits() != 24 {
		t.Errorf("the range %s is chosen beside %s", chosen.CIDR, tenant.NetworkCIDR)
	}
	for name, n := range map[string]husk.Network{
		"the tenant's own": networkOf("x", "192.168.0.0/16"),
		"the default":      networkOf("x", netip.MustParsePrefix(tenant.NetworkCIDR).Masked().String()),
		"services":         networkOf("x", "100.127.4.0/24"),
		"the chosen one":   networkOf("x", netip.PrefixFrom(chosen.CIDR.Addr(), 26).String()),
		"the provider":     networkOf("x", "203.0.112.0/20"),
	} {
		if _, err := create(n); husk.CodeOf(err) != husk.CodeConflict {
			t.Errorf("a network overlaps %s: %v", name, err)
		}
	}
	six := networkOf("six", "172.16.0.0/16")
	six.IPv6CIDR = netip.MustParsePrefix("fd00:6::/64")
	if _, err := create(six); err != nil {
		t.Fatal(err)
	}
	seven := networkOf("seven", "172.17.0.0/16")
	seven.IPv6CIDR = netip.MustParsePrefix("fd00:6::/112")
	if _, err := create(seven); husk.CodeOf(err) != husk.CodeConflict {
		t.Errorf("IPv6 ranges overlap: %v", err)
	}
	if _, err := create(networkOf("back", "10.1.0.0/24")); husk.CodeOf(err) != husk.CodeNameTaken {
		t.Errorf("the name is taken, and creating gives %v", err)
	}
	if theirs, err := h.as(other.ID).Networks().Create(t.Context(), once(), networkOf("back", "192.168.4.0/22")); err != nil || theirs.CIDR.String() != "192.168.4.0/22" {
		t.Errorf("another tenant cannot have the same range: %v", err)
	}
	if _, err := create(networkOf("fifth", "10.2.0.0/24")); err != nil {
		t.Fatal(err)
	}
	if _, err := create(networkOf("sixth", "10.3.0.0/24")); husk.CodeOf(err) != husk.CodeQuotaExceeded {
		t.Errorf("a network above the quota: %v", err)
	}
	all, _, err := as.Networks().List(t.Context(), store.Page{Limit: 10}, nil, nil)
	must(t, all, err)
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	if !slices.Equal(names, []string{"default", "back", "chosen", "six", "fifth"}) {
		t.Errorf("the networks are %v", names)
	}
}

func TestRangesThatNoNetworkCanHave(t *testing.T) {
	t.Parallel()
	for cidr, want := range map[string]string{
		"10.0.0.1/24": "write the network itself, 10.0.0.0/24", "8.8.8.0/24": "not private", "10.0.0.0/8": "between", "10.0.0.0/30": "between",
		"192.168.0.0/15": "between", "169.254.0.0/16": "not private", "172.32.0.0/16": "not private", "fd00::/64": "not an IPv4 range", "100.128.0.0/16": "not private",
	} {
		if err := networkOf("x", cidr).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", cidr, err, want)
		}
	}
	for cidr, ok := range map[string]bool{"fd00:1::/64": true, "fd00:1::/112": true, "fd00:1::1/64": false, "2001:db8::/64": false, "fd00::/32": false, "fd00::/120": false, "10.0.0.0/24": false, "fe80::/64": false} {
		n := networkOf("x", "10.0.0.0/24")
		n.IPv6CIDR = netip.MustParsePrefix(cidr)
		if err := n.Check(); (err == nil) != ok {
			t.Errorf("%s: %v", cidr, err)
		}
	}
}

func TestPodsAreInTheNetworksThatTheyName(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	back := networkOf("back", "10.9.0.0/28")
	back.IPv6CIDR = netip.MustParsePrefix("fd00:9::/64")
	network, err := h.as(tenant.ID).Networks().Create(t.Context(), once(), back)
	must(t, network, err)
	isolated := networkOf("vault", "10.9.1.0/24")
	isolated.Isolated = true
	vault, err := h.as(tenant.ID).Networks().Create(t.Context(), once(), isolated)
	must(t, vault, err)

	p, err := h.podIn(tenant, image, "a", husk.PodNetwork{Network: "back", Address: "10.9.0.10"}, husk.PodNetwork{Network: "vault"}, husk.PodNetwork{Network: "default"})
	must(t, p, err)
	want := []husk.PodInterface{{Network: "back", Address: "10.9.0.10", Address6: "fd00:9::a"}, {Network: "vault", Address: "10.9.1.2"}, {Network: "default", Address: "10.64.0.2"}}
	if p.Status.Address != "10.9.0.10" || !slices.Equal(p.Status.Interfaces, want) {
		t.Errorf("the pod has %s and %+v", p.Status.Address, p.Status.Interfaces)
	}
	for name, networks := range map[string][]husk.PodNetwork{
		"not_found spec.networks[1].network": {{Network: "back"}, {Network: "front"}},
		"conflict spec.networks[0].address":  {{Network: "back", Address: "10.9.0.10"}},
		"invalid spec.networks[0].address":   {{Network: "back", Address: "10.9.0.1"}},
		"invalid spec.networks[1].address":   {{Network: "vault"}, {Network: "back", Address: "10.9.0.15"}},
	} {
		_, err := h.podIn(tenant, image, "b", networks...)
		code, field, _ := strings.Cut(name, " ")
		if e, ok := err.(*husk.Error); !ok || string(e.Code) != code || e.Field != field { //nolint:errorlint // as it is returned
			t.Errorf("%s: %#v", name, err)
		}
	}
	// The addresses of the network are used up one after the other, and one that is free again is not used at once.
	last := ""
	for i := range 12 {
		p, err := h.podIn(tenant, image, fmt.Sprintf("p%d", i), husk.PodNetwork{Network: "back"})
		must(t, p, err)
		last = p.Status.Address
	}
	if last != "10.9.0.9" { // after 10.9.0.14, the search begins again
		t.Errorf("the last address is %s", last)
	}
	if _, err := h.podIn(tenant, image, "full", husk.PodNetwork{Network: "back"}); husk.CodeOf(err) != husk.CodeQuotaExceeded || !strings.Contains(err.Error(), `"back"`) {
		t.Errorf("the network is full: %v", err)
	}
	if err := h.as(tenant.ID).Networks().Delete(t.Context(), network.ID); husk.CodeOf(err) != husk.CodeConflict || !strings.Contains(err.Error(), "has pods (13)") {
		t.Errorf("a network with pods is deleted: %v", err)
	}
	if _, err := h.as(tenant.ID).DeletePod(t.Context(), p.ID); err != nil { // it is on no node, so it is gone at once
		t.Fatal(err)
	}
	if err := h.as(tenant.ID).Networks().Delete(t.Context(), vault.ID); err != nil {
		t.Errorf("a network without pods is not deleted: %v", err)
	}
	all, _, err := h.as(tenant.ID).Networks().List(t.Context(), store.Page{Limit: 10}, nil, nil)
	if must(t, all, err); all[0].Name != "default" {
		t.Fatalf("the networks are %+v", all)
	}
	if err := h.as(tenant.ID).Networks().Delete(t.Context(), all[0].ID); husk.CodeOf(err) != husk.CodeConflict {
		t.Errorf("the default network is deleted: %v", err)
	}
}

// Pods of before the upgrade keep their addresses, and a server of the previous version creates pods at the same time.
func TestExistingPodsKeepTheirAddresses(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 33)
	const tenant, network = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000003"
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('` + tenant + `', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('` + tenant + `', '` + network + `', 0, '10.64.0.0/24')`)
	insert := func(name, address string) string {
		return `INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac) VALUES
			('` + tenant + `', '` + uuid.NewString() + `', '` + name + `', '{}', '{}', 1, 1, '` + network + `', '` + address + `', '02:00:00:00:00:02')`
	}
	control.exec(insert("before", "10.64.0.7"))
	s.migrate(34)
	control.exec(insert("after", "10.64.0.8"))
	control.want(`SELECT string_agg(p.name || ' ' || host(a.address), ',' ORDER BY a.number) FROM pod_addresses a JOIN pods p ON p.id = a.pod_id`, "before 10.64.0.7,after 10.64.0.8")
	control.want(`SELECT name || ' ' || isolated FROM networks`, "default false")
	s.want(`SELECT quota_networks::text FROM tenants`, "8")
	control.exec(`DELETE FROM pods`)
	control.want(`SELECT count(*)::text FROM pod_addresses`, "0")
}

// TestOuterAddressesRest releases an address again and again. A range of four addresses is handed out in turn, without those in use.
func TestOuterAddressesRest(t *testing.T) {
	t.Parallel()
	h, a, b := twoTenants(t)
	first, last := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.4")
	var kept string
	var got []string
	for range 5 {
		if _, exhausted, err := h.Topology().AssignOuter(t.Context(), first, last, 10); err != nil || exhausted {
			t.Fatalf("two networks get no addresses: %t, %v", exhausted, err)
		}
		both, err := h.Topology().Tenants(t.Context(), []store.ID{a.ID, b.ID})
		must(t, both, err)
		for _, tenant := range both {
			if outer := tenant.Networks[0].Outer.String(); tenant.ID == a.ID {
				kept = outer
			} else {
				got = append(got, outer)
			}
		}
		h.exec("UPDATE networks SET outer_address = NULL WHERE tenant_id = '" + b.ID.String() + "'")
	}
	want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
	for i, address := range got {
		if address == kept || i > 0 && got[i-1] == address || !slices.Contains(want, address) {
			t.Errorf("%s is handed out, after %v; %s is in use", address, got[:i], kept)
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(got))); len(distinct) != 3 {
		t.Errorf("five times, an address of four was released and another one handed out: %v, while %s was in use", got, kept)
	}
}
