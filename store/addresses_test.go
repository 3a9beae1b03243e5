// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/service/address"
	"husk/store"
	"husk/store/addresses"
)

func (h fixture) address(tenant husk.Tenant, to *address.Target) address.Address {
	h.t.Helper()
	a, err := h.as(tenant.ID).Addresses().Create(h.t.Context(), once(), address.Address{Name: named("address"), Labels: map[string]string{}, Target: to})
	return must(h.t, a, err)
}

// bound returns the tenant's addresses with a target, as OVN gets them.
func (h fixture) bound(tenant husk.Tenant) []addresses.Bound {
	h.t.Helper()
	all, err := h.Topology().Tenants(h.t.Context(), []uuid.UUID{tenant.ID})
	return must(h.t, all, err)[0].Addresses
}

// Addresses are of the pods and services to which they lead: pods show them, and those that are made for a target are deleted with it.
func TestFloatingAddressesFollowTheirTargets(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Addresses = 4
	tenant := h.tenantWith(quota)
	as, image := h.as(tenant.ID), h.image(tenant)
	pod, other := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	web, err := as.Services().Create(t.Context(), once(), webService("web"))
	must(t, web, err)
	ports := []address.Port{{Protocol: "TCP", Port: 80, TargetPort: 8080}}
	whole, published := h.address(tenant, &address.Target{PodID: &pod.ID}), h.address(tenant, &address.Target{PodID: &pod.ID, Ports: ports})
	ofService := h.address(tenant, &address.Target{ServiceID: &web.ID})
	if whole.Status.TargetName != pod.Name || ofService.Status.TargetName != "web" || whole.Status.Address == published.Status.Address {
		t.Errorf("the addresses are %+v and %+v", whole, ofService)
	}
	shown := func(p husk.Pod) []husk.OutsideAddress {
		t.Helper()
		got, err := as.Pod(t.Context(), p.ID)
		return must(t, got, err).Status.Outside
	}
	if got := shown(pod); len(got) != 2 || got[0].Address != whole.Status.Address || len(got[0].Ports) != 0 || got[1].Ports[0].TargetPort != 8080 {
		t.Errorf("the pod shows %+v", got)
	}
	if got := h.bound(tenant); len(got) != 3 {
		t.Errorf("OVN gets %+v", got)
	}
	_, err = as.Addresses().Create(t.Context(), once(), address.Address{Name: "second", Labels: map[string]string{}, Target: &address.Target{PodID: &pod.ID}})
	wantCode(t, err, husk.CodeConflict)
	h.address(tenant, nil)
	_, err = as.Addresses().Create(t.Context(), once(), address.Address{Name: "fifth", Labels: map[string]string{}})
	wantCode(t, err, husk.CodeQuotaExceeded)

	update := func(a address.Address, change func(*address.Address)) {
		t.Helper()
		_, err := as.Addresses().Update(t.Context(), a.ID, nil, func(a address.Address) address.Address {
			change(&a)
			return a
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(whole, func(a *address.Address) { a.Target = &address.Target{PodID: &other.ID} })
	if got := shown(other); len(got) != 1 || len(shown(pod)) != 1 {
		t.Errorf("the other pod shows %+v", got)
	}
	update(published, func(a *address.Address) { a.DeleteWithTarget = true })
	update(ofService, func(a *address.Address) { a.DeleteWithTarget = true })
	for _, p := range []husk.Pod{pod, other} {
		if _, err := as.DeletePod(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := as.Services().Delete(t.Context(), web.ID); err != nil {
		t.Fatal(err)
	}
	for _, a := range []address.Address{published, ofService} {
		_, err := as.Addresses().Get(t.Context(), a.ID)
		wantCode(t, err, husk.CodeNotFound)
	}
	if left, err := as.Addresses().Get(t.Context(), whole.ID); err != nil || left.Target != nil || left.Status.Address != whole.Status.Address {
		t.Errorf("the address that stays is %+v, %v", left, err)
	}
	if got := h.bound(tenant); len(got) != 0 {
		t.Errorf("OVN gets %+v", got)
	}
	use, err := as.Quota(t.Context())
	if must(t, use, err); use.Used.Addresses != 2 || use.Limits.Addresses != 4 {
		t.Errorf("the quota is %+v", use)
	}
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeConflict)
}

// No address is handed out twice, however many tenants ask at once. One that was released comes last.
func TestFloatingAddressesAreHandedOutInTurn(t *testing.T) {
	t.Parallel()
	h := open(t)
	const tenants, each = 5, 8
	var mu sync.Mutex
	var taking sync.WaitGroup
	got := map[string]int{}
	var all []husk.Tenant
	for range tenants {
		all = append(all, h.tenant())
	}
	for _, tenant := range all {
		taking.Go(func() {
			for range each {
				a, err := h.as(tenant.ID).Addresses().Create(context.WithoutCancel(t.Context()), once(), address.Address{Name: named("a"), Labels: map[string]string{}})
				mu.Lock()
				got[a.Status.Address]++
				if err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	taking.Wait()
	if len(got) != tenants*each {
		t.Errorf("%d addresses were handed out, want %d different ones", len(got), tenants*each)
	}
	first := h.tenant()
	released := h.address(first, nil)
	if err := h.as(first.ID).Addresses().Delete(t.Context(), released.ID); err != nil {
		t.Fatal(err)
	}
	if next := h.address(first, nil); next.Status.Address == released.Status.Address {
		t.Errorf("%s is handed out again at once", next.Status.Address)
	}
	used, size, err := h.FloatingAddresses(t.Context())
	if err != nil || used != tenants*each+1 || size != 254 {
		t.Errorf("%d of %d addresses are in use: %v", used, size, err)
	}
}

// When all addresses are in use, a tenant is refused. One that is released is handed out again if there is no other.
func TestThePoolOfFloatingAddressesEnds(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	few := h.as(tenant.ID).Addresses()
	few.Range = address.Range{First: netip.MustParseAddr("198.51.100.7"), Last: netip.MustParseAddr("198.51.100.9")}
	take := func() (address.Address, error) {
		return few.Create(t.Context(), once(), address.Address{Name: named("a"), Labels: map[string]string{}})
	}
	var made []address.Address
	for range 3 {
		a, err := take()
		made = append(made, must(t, a, err))
	}
	_, err := take()
	wantCode(t, err, husk.CodeQuotaExceeded)
	if err := few.Delete(t.Context(), made[1].ID); err != nil {
		t.Fatal(err)
	}
	if again, err := take(); err != nil || again.Status.Address != "198.51.100.8" {
		t.Errorf("the address is %s, %v", again.Status.Address, err)
	}
	few.Range = address.Range{}
	_, err = take()
	wantCode(t, err, husk.CodeConflict)
}

// Pods and services are deleted while addresses are bound to them. Nothing waits for itself.
func TestTargetsAreDeletedWhileAddressesAreBound(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, image := h.as(tenant.ID), h.image(tenant)
	a := h.address(tenant, nil)
	for range 10 {
		one, two := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
		var working sync.WaitGroup
		for _, id := range []store.ID{one.ID, two.ID} {
			working.Go(func() {
				_, err := as.Addresses().Update(t.Context(), a.ID, nil, func(a address.Address) address.Address {
					a.Target = &address.Target{PodID: &id}
					return a
				})
				if err != nil && husk.CodeOf(err) != husk.CodeNotFound {
					t.Error(err)
				}
			})
			working.Go(func() {
				if _, err := as.DeletePod(t.Context(), id); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		working.Wait()
	}
	if left, err := as.Addresses().Get(t.Context(), a.ID); err != nil || left.Target != nil {
		t.Errorf("the address is %+v, %v", left, err)
	}
}
