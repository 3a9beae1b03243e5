// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/service"
	"husk/service/securitygroup"
	"husk/store"
	"husk/store/groups"
	"husk/store/lifecycle"
)

// group creates a security group of the pods with role=NAME.
func (h fixture) group(tenant husk.Tenant, name string, rules ...securitygroup.Rule) securitygroup.Group {
	h.t.Helper()
	g, err := h.as(tenant.ID).SecurityGroups().Create(h.t.Context(), once(), securitygroup.Group{
		Name: name, Labels: map[string]string{}, Selector: husk.Selector{{Key: "role", Op: husk.OpIn, Values: []string{name}}}, Rules: rules,
	}.Complete(false))
	return must(h.t, g, err)
}

func fromGroup(name string, port int) securitygroup.Rule {
	return securitygroup.Rule{Direction: securitygroup.Ingress, Protocol: securitygroup.TCP, Ports: []securitygroup.Port{{Port: port}}, Peers: []securitygroup.Peer{{Group: name}}}
}

// planned returns a group as OVN gets it.
func (h fixture) planned(tenant husk.Tenant, name string) groups.Planned {
	h.t.Helper()
	all, err := h.Topology().Tenants(h.t.Context(), []uuid.UUID{tenant.ID})
	for _, g := range must(h.t, all, err)[0].Groups {
		if g.Name == name {
			return g
		}
	}
	h.t.Fatalf("OVN gets no group %s", name)
	return groups.Planned{}
}

func TestPodsAreInSecurityGroupsByNameAndByLabels(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as, image := h.as(tenant.ID), h.image(tenant)
	g := h.group(tenant, "db")
	spec := specOf(image)
	spec.SecurityGroups = []string{"db"}
	named := h.createPod(tenant, spec)
	labelled, err := as.CreatePod(t.Context(), once(), "labelled", map[string]string{"role": "db"}, nil, specOf(image))
	must(t, labelled, err)
	other := h.createPod(tenant, specOf(image))
	members := func(want ...husk.Pod) {
		t.Helper()
		got := h.planned(tenant, "db").Members
		if len(got) != len(want) || slices.ContainsFunc(want, func(p husk.Pod) bool { return !slices.Contains(got, p.ID) }) {
			t.Errorf("the members are %v, want %d others", got, len(want))
		}
		if now, err := as.SecurityGroups().Get(t.Context(), g.ID); err != nil || now.Status.Pods != len(want) {
			t.Errorf("the group has %d pods, want %d: %v", now.Status.Pods, len(want), err)
		}
	}
	members(named, labelled)
	if !slices.Equal(named.Spec.SecurityGroups, []string{"db"}) {
		t.Errorf("the pod names %v", named.Spec.SecurityGroups)
	}
	update := func(p husk.Pod, n lifecycle.Names) error {
		_, err := as.UpdatePod(t.Context(), p.ID, n)
		return err
	}
	if err := update(named, lifecycle.Names{SecurityGroups: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := update(other, lifecycle.Names{SecurityGroups: &[]string{"db"}}); err != nil {
		t.Fatal(err)
	}
	if err := update(labelled, lifecycle.Names{Labels: map[string]*string{"role": nil}}); err != nil {
		t.Fatal(err)
	}
	members(other)
	both := webService("both")
	both.Selector, both.SecurityGroups = husk.Selector{{Key: "role", Op: husk.OpIn, Values: []string{"both"}}}, []string{"db"}
	made, err := as.Services().Create(t.Context(), once(), both)
	must(t, made, err)
	if err := update(labelled, lifecycle.Names{Labels: map[string]*string{"role": new("both")}}); err != nil {
		t.Fatal(err)
	}
	members(other, labelled)
	_, err = as.Services().Update(t.Context(), made.ID, nil, func(s service.Service) (service.Service, error) {
		s.SecurityGroups = []string{"none"}
		return s, nil
	})
	wantCode(t, err, husk.CodeNotFound)
	if err := update(other, lifecycle.Names{SecurityGroups: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, as.SecurityGroups().Delete(t.Context(), g.ID), husk.CodeConflict)
	if err := as.Services().Delete(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if err := update(other, lifecycle.Names{SecurityGroups: &[]string{"db"}}); err != nil {
		t.Fatal(err)
	}
	members(other)
	wantCode(t, update(other, lifecycle.Names{SecurityGroups: &[]string{"db", "none"}}), husk.CodeNotFound)
	spec.SecurityGroups = []string{"none"}
	_, err = as.CreatePod(t.Context(), once(), "refused", map[string]string{}, nil, spec)
	wantCode(t, err, husk.CodeNotFound)
	wantCode(t, as.SecurityGroups().Delete(t.Context(), g.ID), husk.CodeConflict)
	if err := update(other, lifecycle.Names{SecurityGroups: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := as.SecurityGroups().Delete(t.Context(), g.ID); err != nil {
		t.Error(err)
	}
}

// Rules that stay keep their numbers, by which they are counted. A group that a rule names stays.
func TestRulesOfSecurityGroupsKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.SecurityGroups = 2
	tenant := h.tenantWith(quota)
	as := h.as(tenant.ID).SecurityGroups()
	web := h.group(tenant, "web")
	db := h.group(tenant, "db", fromGroup("web", 80), fromGroup("db", 81))
	_, err := as.Create(t.Context(), once(), securitygroup.Group{Name: "third", Labels: map[string]string{}}.Complete(false))
	wantCode(t, err, husk.CodeQuotaExceeded)
	now, err := as.Update(t.Context(), db.ID, nil, func(g securitygroup.Group) (securitygroup.Group, error) {
		g.Rules = []securitygroup.Rule{fromGroup("web", 82), fromGroup("db", 81)}
		return g.Complete(true), nil
	})
	if must(t, now, err); now.Rules[1].Number != db.Rules[1].Number || now.Rules[0].Number == db.Rules[0].Number || now.Rules[0].Number == 0 {
		t.Errorf("the rules are %+v, after %+v", now.Rules, db.Rules)
	}
	_, err = as.Update(t.Context(), db.ID, nil, func(g securitygroup.Group) (securitygroup.Group, error) {
		g.Rules = []securitygroup.Rule{fromGroup("none", 82)}
		return g.Complete(true), nil
	})
	wantCode(t, err, husk.CodeNotFound)
	wantCode(t, as.Delete(t.Context(), web.ID), husk.CodeConflict)
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeConflict)
	use, err := h.as(tenant.ID).Quota(t.Context())
	if must(t, use, err); use.Used.SecurityGroups != 2 || use.Limits.SecurityGroups != 2 {
		t.Errorf("the quota is %+v", use)
	}
	if err := as.Delete(t.Context(), db.ID); err != nil { // its own rule does not keep it
		t.Fatal(err)
	}
	if err := as.Delete(t.Context(), web.ID); err != nil {
		t.Fatal(err)
	}
}

// A node counts the packets of its own pods only. What it has counted stays when it is deleted, in one row.
func TestNodesCountPacketsOfTheirPods(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, others := h.tenant(), h.tenant()
	g := h.group(tenant, "db", fromGroup("db", 80))
	g, err := h.as(tenant.ID).SecurityGroups().Update(t.Context(), g.ID, nil, func(g securitygroup.Group) (securitygroup.Group, error) {
		g.Restricts = []securitygroup.Direction{securitygroup.Ingress}
		return g.Complete(true), nil
	})
	must(t, g, err)
	record := func(node husk.Node, pod husk.Pod) {
		t.Helper()
		drop := husk.SecurityDrop{
			At: time.Now(), GroupID: g.ID, Direction: "ingress", PodID: pod.ID, Protocol: "tcp",
			Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"),
		}
		counts := []husk.SecurityCount{{Rule: g.Rules[0].Number, Packets: 7, Bytes: 70}, {GroupID: g.ID, Direction: "ingress", Packets: 3, Bytes: 30}}
		if err := h.SecurityGroups().Record(t.Context(), node.ID, counts, []husk.SecurityDrop{drop}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(allowed, dropped int64, drops int, when string) {
		t.Helper()
		got, err := h.as(tenant.ID).SecurityGroups().Traffic(t.Context(), g.ID)
		if must(t, got, err); got.Rules[0].Packets != allowed || got.Dropped[0].Packets != dropped || len(got.Drops) != drops {
			t.Errorf("%s, the group has counted %+v; want %d packets allowed, %d dropped, and %d drops", when, got, allowed, dropped, drops)
		}
	}
	pod, stranger := h.createPod(tenant, specOf(h.image(tenant))), h.createPod(others, specOf(h.image(others)))
	foreign := h.node(1)
	h.place(foreign.ID, stranger)
	record(foreign, pod)
	want(0, 0, 0, "after a node without pods of the tenant has reported")

	for deleted := range 2 {
		node := h.node(1)
		h.place(node.ID, pod)
		record(node, stranger)
		want(7*int64(deleted+1), 3*int64(deleted+1), deleted, "after a report of a pod that is not there")
		record(node, pod)
		want(7*int64(deleted+1), 3*int64(deleted+1), deleted+1, "after a report")
		h.bringTo(husk.PhaseStopping, node, pod)
		h.report(node.ID, pod, husk.EventGone)
		wantCode(t, h.DeleteNode(t.Context(), node.ID), "")
		want(7*int64(deleted+1), 3*int64(deleted+1), deleted+1, "after the node was deleted")
		pod = h.createPod(tenant, specOf(h.image(tenant)))
	}
	if rows := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM security_counters WHERE group_id = $1", g.ID); rows != 2 {
		t.Errorf("two deleted nodes have left %d rows, want one for the rule and one for drops", rows)
	}
}
