// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/ingress"
	"husk/store"
)

func webIngress(hosts ...string) ingress.Ingress {
	i := ingress.Ingress{Name: "web", Labels: map[string]string{}}
	for _, host := range hosts {
		i.Rules = append(i.Rules, ingress.Rule{Host: host, Paths: []ingress.Path{{Path: "/", Service: "web", Port: 80}}})
	}
	return i
}

// TestAHostBelongsToWhoHasItFirst lets two tenants want the same hosts.
func TestAHostBelongsToWhoHasItFirst(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.tenant(), h.tenant()
	first, err := h.as(a.ID).Ingresses().Create(t.Context(), once(), webIngress("www.example.com", "api.example.com"))
	must(t, first, err)
	_, err = h.as(b.ID).Ingresses().Create(t.Context(), once(), webIngress("b.example.com", "www.example.com"))
	wantCode(t, err, husk.CodeConflict)
	if strings.Contains(err.Error(), a.ID.String()) || strings.Contains(err.Error(), a.Name) {
		t.Errorf("the error says whose it is: %v", err)
	}
	second, err := h.as(b.ID).Ingresses().Create(t.Context(), once(), webIngress("b.example.com"))
	must(t, second, err)
	take := func(i ingress.Ingress) (ingress.Ingress, error) {
		i.Rules = append(i.Rules, webIngress("www.example.com").Rules...)
		return i, nil
	}
	_, err = h.as(b.ID).Ingresses().Update(t.Context(), second.ID, nil, take)
	wantCode(t, err, husk.CodeConflict)

	// A host that its owner does not name any more is free.
	changed, err := h.as(a.ID).Ingresses().Update(t.Context(), first.ID, nil, func(i ingress.Ingress) (ingress.Ingress, error) {
		i.Rules = i.Rules[1:]
		return i, nil
	})
	must(t, changed, err)
	if len(changed.Status.Hosts) != 1 || changed.Status.Hosts[0].State != ingress.Pending {
		t.Errorf("the hosts are %+v", changed.Status.Hosts)
	}
	taken, err := h.as(b.ID).Ingresses().Update(t.Context(), second.ID, nil, take)
	if must(t, taken, err); len(taken.Status.Hosts) != 2 {
		t.Errorf("the hosts are %+v", taken.Status.Hosts)
	}
	if err := h.as(b.ID).Ingresses().Delete(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	again := webIngress("b.example.com")
	again.Name = "again"
	back, err := h.as(a.ID).Ingresses().Create(t.Context(), once(), again)
	must(t, back, err)
}

func TestIngressesHaveAQuota(t *testing.T) {
	t.Parallel()
	h := open(t)
	a := h.tenant()
	if _, err := h.SetQuota(t.Context(), a.ID, func(q husk.Quota) husk.Quota { q.Ingresses = 1; return q }); err != nil {
		t.Fatal(err)
	}
	made, err := h.as(a.ID).Ingresses().Create(t.Context(), once(), webIngress("a.example.com"))
	must(t, made, err)
	second := webIngress("b.example.com")
	_, err = h.as(a.ID).Ingresses().Create(t.Context(), once(), second)
	wantCode(t, err, husk.CodeQuotaExceeded)
	use, err := h.as(a.ID).Quota(t.Context())
	if must(t, use, err); use.Used.Ingresses != 1 {
		t.Errorf("%d ingresses are counted", use.Used.Ingresses)
	}
}

// TestServicesOfIngressesHaveAddresses follows the addresses in the ingress range.
func TestServicesOfIngressesHaveAddresses(t *testing.T) {
	t.Parallel()
	h := open(t)
	a, b := h.tenant(), h.tenant()
	made, err := h.as(a.ID).Ingresses().Create(t.Context(), once(), webIngress("a.example.com"))
	must(t, made, err)
	other := webIngress("b.example.com", "c.example.com")
	other.Rules[1].Paths[0].Service = "api"
	made, err = h.as(b.ID).Ingresses().Create(t.Context(), once(), other)
	must(t, made, err)
	for _, tenant := range []husk.Tenant{a, b, b} {
		s := webService("web")
		if have, _, err := h.as(b.ID).Services().List(t.Context(), store.Page{Limit: 10}, nil, nil); err == nil && len(have) == 1 {
			s.Name = "api"
		}
		made, err := h.as(tenant.ID).Services().Create(t.Context(), once(), s)
		must(t, made, err)
	}
	first, last := netip.MustParseAddr("100.126.0.1"), netip.MustParseAddr("100.126.0.2")
	addresses := func() (all []string) {
		both, err := h.Topology().Services(t.Context(), []store.ID{a.ID, b.ID})
		must(t, both, err)
		for _, tenant := range both {
			for _, s := range tenant.Services {
				if s.Ingress.IsValid() {
					all = append(all, fmt.Sprintf("%s/%s %s", map[store.ID]string{a.ID: "a", b.ID: "b"}[s.TenantID], s.Name, s.Ingress))
				}
			}
		}
		slices.Sort(all)
		return all
	}
	exhausted, err := h.Topology().AssignIngress(t.Context(), first, last, 10)
	if err != nil || !exhausted || len(addresses()) != 2 {
		t.Errorf("of three services, %v have one of two addresses, and too few are reported: %t, %v", addresses(), exhausted, err)
	}
	last = netip.MustParseAddr("100.126.0.6")
	if exhausted, err = h.Topology().AssignIngress(t.Context(), first, last, 10); err != nil || exhausted || len(addresses()) != 3 {
		t.Errorf("with enough addresses, there are %v: %t, %v", addresses(), exhausted, err)
	}
	services, _, err := h.as(a.ID).Services().List(t.Context(), store.Page{Limit: 10}, nil, nil)
	must(t, services, err)
	had := addresses()[0]
	if err := h.as(a.ID).Services().Delete(t.Context(), services[0].ID); err != nil {
		t.Fatal(err)
	}
	var addressed int
	if err := h.connect(store.RoleControl).QueryRow(t.Context(), "SELECT count(address) FROM ingress_services").Scan(&addressed); err != nil || addressed != 2 {
		t.Errorf("after the end of one of three services, %d have an address: %v", addressed, err)
	}
	if exhausted, err = h.Topology().AssignIngress(t.Context(), first, last, 10); err != nil || exhausted || len(addresses()) != 2 {
		t.Errorf("a service that does not exist gets an address: %v, %t, %v", addresses(), exhausted, err)
	}
	again, err := h.as(a.ID).Services().Create(t.Context(), once(), webService("web"))
	must(t, again, err)
	if exhausted, err = h.Topology().AssignIngress(t.Context(), first, last, 10); err != nil || exhausted || len(addresses()) != 3 || addresses()[0] == had {
		t.Errorf("a new service must get an address that was not released a moment ago, %s: %v, %t, %v", had, addresses(), exhausted, err)
	}
	if err := h.as(b.ID).Ingresses().Delete(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if got := addresses(); len(got) != 1 || !strings.HasPrefix(got[0], "a/web ") {
		t.Errorf("after the end of an ingress, the addresses are %v", got)
	}
	if err := h.Topology().ClearIngress(t.Context(), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")); err != nil || len(addresses()) != 0 {
		t.Errorf("after a change of the range, the addresses are %v: %v", addresses(), err)
	}
}

// TestTheRoleOfIngressProcessesSeesOnlyWhatItNeeds reads every table with that role.
func TestTheRoleOfIngressProcessesSeesOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	h, _, _ := twoTenants(t)
	rows, err := h.connect(store.RoleOwner).Query(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1")
	must(t, rows, err)
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	c := h.connect(store.RoleIngress)
	var seen []string
	for _, table := range tables {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := c.Exec(ctx, "SELECT 1 FROM "+table); err == nil {
			seen = append(seen, table)
		} else if !denied(err) {
			t.Errorf("%s: %v", table, err)
		}
		cancel()
	}
	if diff := cmp.Diff([]string{"ingress_hosts", "ingress_locks", "ingress_orders", "ingress_requests", "ingress_services", "ingress_storage", "ingress_traffic", "ingresses"}, seen); diff != "" {
		t.Error(diff)
	}
	for _, sql := range []string{"UPDATE ingress_hosts SET host = 'x'", "UPDATE ingress_hosts SET tenant_id = ingress_id", "DELETE FROM ingresses", "SELECT labels FROM ingresses"} {
		if _, err := c.Exec(t.Context(), sql); !denied(err) {
			t.Errorf("%s is allowed: %v", sql, err)
		}
	}
}
