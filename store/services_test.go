// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"husk"
	"husk/service"
	"husk/store"
	"husk/store/lifecycle"
	"husk/store/services"
)

// webService returns a service that selects the pods with app=web.
func webService(name string) service.Service {
	return service.Service{
		Name: name, Labels: map[string]string{}, Selector: husk.Selector{{Key: "app", Op: husk.OpIn, Values: []string{"web"}}}, Ports: []service.Port{{Port: 80, TargetPort: 8080}},
	}.Complete()
}

// webPod creates a pod with app=web that runs on the node.
func (h fixture) webPod(tenant husk.Tenant, node husk.Node, image husk.Image) husk.Pod {
	h.t.Helper()
	pod, err := h.as(tenant.ID).CreatePod(h.t.Context(), once(), named("web"), map[string]string{"app": "web"}, nil, specOf(image))
	must(h.t, pod, err)
	h.place(node.ID, pod)
	return pod
}

// runs reports that the containers of a pod run, and whether they are ready.
func (h fixture) runs(node husk.Node, pod husk.Pod, ready bool) {
	h.t.Helper()
	statuses := []husk.ContainerStatus{}
	for _, c := range pod.Spec.Containers {
		statuses = append(statuses, husk.ContainerStatus{Name: c.Name, State: husk.ContainerRunning, Ready: &ready})
	}
	if err := h.Report(h.t.Context(), node.ID, []husk.PodReport{{PodID: pod.ID, Generation: pod.Generation, Event: husk.EventRunning, Containers: statuses}}); err != nil {
		h.t.Fatal(err)
	}
}

// A pod that is stopping gets no connections before its node even knows that it should stop.
func TestEndpointsFollowTheReadinessOfPods(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(10)
	as, image := h.as(tenant.ID), h.image(tenant)
	made, err := as.Services().Create(t.Context(), once(), webService("web"))
	if must(t, made, err); made.Status.Address != "100.127.0.1" || made.Ports[0] != (service.Port{Protocol: service.TCP, Port: 80, TargetPort: 8080}) {
		t.Errorf("the service is %+v", made)
	}
	one, two := h.webPod(tenant, node, image), h.webPod(tenant, node, image)
	other := h.createPod(tenant, specOf(image)) // without the label
	h.place(node.ID, other)
	h.runs(node, other, true)
	want := func(what string, ready, notReady int, addresses ...string) {
		t.Helper()
		got, err := as.Services().Get(t.Context(), made.ID)
		if must(t, got, err); got.Status.ReadyEndpoints != ready || got.Status.NotReadyEndpoints != notReady {
			t.Errorf("%s, the status is %+v, want %d ready endpoints and %d others", what, got.Status, ready, notReady)
		}
		read, err := h.Topology().Tenants(t.Context(), []store.ID{tenant.ID})
		all := must(t, read, err)[0].Services
		if len(all) != 1 || all[0].Address.String() != made.Status.Address {
			t.Fatalf("%s, the services are %+v", what, all)
		}
		var balanced []string
		for _, e := range all[0].Endpoints {
			balanced = append(balanced, e.Address.String())
		}
		if !slices.Equal(balanced, addresses) {
			t.Errorf("%s, connections go to %v, want %v", what, balanced, addresses)
		}
	}
	want("when no pod runs", 0, 0)
	h.runs(node, one, true)
	h.runs(node, two, false)
	want("when one pod is ready", 1, 1, one.Status.Address)
	h.runs(node, two, true)
	want("when both pods are ready", 2, 0, one.Status.Address, two.Status.Address)
	if _, err := as.DeletePod(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	want("when one pod is stopping", 1, 1, two.Status.Address)
	if changed, err := as.UpdatePod(t.Context(), two.ID, lifecycle.Names{Labels: map[string]*string{"app": nil}}); err != nil {
		t.Fatal(changed, err)
	}
	want("when the other pod has lost its label", 0, 1)
}

func TestAddressesOfServices(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.Services = 3
	tenant := h.tenantWith(quota)
	as := h.as(tenant.ID)
	create := func(s service.Service) service.Service {
		t.Helper()
		made, err := as.Services().Create(t.Context(), once(), s)
		return must(t, made, err)
	}
	first, second := create(webService("a")), create(webService("b"))
	if err := as.Services().Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	third := create(webService("a"))
	if got := []string{first.Status.Address, second.Status.Address, third.Status.Address}; !slices.Equal(got, []string{"100.127.0.1", "100.127.0.2", "100.127.0.3"}) {
		t.Errorf("the addresses are %v; one that was released must not be used again at once", got)
	}
	headless := webService("c")
	headless.Headless = true
	if got := create(headless); got.Status.Address != "" || !got.Headless {
		t.Errorf("the headless service is %+v", got)
	}
	_, err := as.Services().Create(t.Context(), once(), webService("d"))
	wantCode(t, err, husk.CodeQuotaExceeded)
	if err := as.Services().Delete(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	_, err = as.Services().Create(t.Context(), once(), webService("a"))
	wantCode(t, err, husk.CodeNameTaken)
	wantCode(t, h.DeleteTenant(t.Context(), tenant.ID), husk.CodeConflict)
	use, err := as.Quota(t.Context())
	if must(t, use, err); use.Used.Services != 2 || use.Limits.Services != 3 {
		t.Errorf("the quota is %+v", use)
	}
	stranger := h.tenant()
	made, err := h.as(stranger.ID).Services().Create(t.Context(), once(), webService("a"))
	if must(t, made, err); made.Status.Address != first.Status.Address {
		t.Errorf("another tenant's first service has the address %s", made.Status.Address)
	}
}

// After the last address of the range come the free ones at its beginning. Then there is none.
func TestTheRangeOfServicesIsUsedToItsEnd(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	insert := func(name, address string) {
		h.exec(fmt.Sprintf(`INSERT INTO services (tenant_id, id, network_id, name, labels, selector, ports, affinity_seconds, address)
			SELECT tenant_id, gen_random_uuid(), id, '%s', '{}', '[]', '[]', 0, '%s' FROM networks WHERE tenant_id = '%s'`, name, address, tenant.ID))
	}
	insert("first", "100.127.0.1")
	insert("last", "100.127.255.254")
	made, err := h.as(tenant.ID).Services().Create(t.Context(), once(), webService("web"))
	if must(t, made, err); made.Status.Address != "100.127.0.2" {
		t.Errorf("after the last address of the range comes %s", made.Status.Address)
	}
	for text, pods := range map[string]string{"100.64.0.0/16": "100.64.0.0/11", "100.127.0.0/29": "100.64.0.0/11", "fd00::/64": "100.64.0.0/11", "0.0.0.0/0": "10.0.0.0/8"} {
		if services.CheckRange(netip.MustParsePrefix(text), netip.MustParsePrefix(pods)) == nil {
			t.Errorf("the service range %s is accepted with the pod range %s", text, pods)
		}
	}
}

func TestServicesChange(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	as := h.as(tenant.ID)
	made, err := as.Services().Create(t.Context(), once(), webService("web"))
	must(t, made, err)
	value := "blue"
	changed, err := as.Services().Update(t.Context(), made.ID, map[string]*string{"track": &value}, func(s service.Service) (service.Service, error) {
		s.Affinity, s.Ports[0].Port = service.AffinityClient, 81
		return s, nil
	})
	if must(t, changed, err); changed.AffinityTimeoutSeconds != service.DefaultAffinitySeconds || changed.Ports[0].Port != 81 || changed.Labels["track"] != value || changed.Status.Address != made.Status.Address {
		t.Errorf("the service is %+v", changed)
	}
	_, err = as.Services().Update(t.Context(), made.ID, nil, func(s service.Service) (service.Service, error) {
		s.Ports = nil
		return s, nil
	})
	wantCode(t, err, husk.CodeInvalid)
	ctx := store.WithRequest(t.Context(), store.Request{IfMatch: husk.ETag(made)})
	wantCode(t, h.as(tenant.ID).Services().Delete(ctx, made.ID), husk.CodePreconditionFailed)
}

// The leader is told whose services or pods have changed, also by triggers alone.
func TestHintsNameTheTenantWhoseNetworkHasChanged(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, quiet, node := h.tenant(), h.tenant(), h.node(10)
	image := h.image(tenant)
	changes := h.WatchNetworks()
	defer changes.Close()
	if _, all := changes.Take(); !all {
		t.Error("at first, everything may have changed")
	}
	wait := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			ids, all := changes.Take()
			if slices.Contains(ids, quiet.ID) {
				t.Errorf("%s: a tenant is named in whose network nothing has changed", what)
			}
			return all || slices.Contains(ids, tenant.ID)
		})
	}
	if made, err := h.as(tenant.ID).Services().Create(t.Context(), once(), webService("web")); err != nil {
		t.Fatal(made, err)
	}
	wait("a service is created")
	pod := h.webPod(tenant, node, image)
	wait("a pod is placed")
	h.runs(node, pod, false)
	wait("a pod runs")
	h.runs(node, pod, true)
	wait("a pod is ready")
	if late, err := h.SetNodeState(t.Context(), h.epoch(), h.getNode(node.ID), husk.NodeSuspect); err != nil || !late {
		t.Fatal(late, err)
	}
	wait("its node does not respond")
	h.heartbeat(h.getNode(node.ID))
	wait("its node responds again")
}

// While a node does not respond, new connections go to pods on other nodes. If no node responds, they go where they went.
func TestSilentNodesGetNoConnections(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, one, two := h.tenant(), h.node(10), h.node(10)
	as, image := h.as(tenant.ID), h.image(tenant)
	made, err := as.Services().Create(t.Context(), once(), webService("web"))
	must(t, made, err)
	for _, n := range []husk.Node{one, two} {
		h.runs(n, h.webPod(tenant, n, image), true)
	}
	want := func(what string, ready int) {
		t.Helper()
		got, err := as.Services().Get(t.Context(), made.ID)
		if must(t, got, err); got.Status.ReadyEndpoints != ready {
			t.Errorf("%s, the status is %+v, want %d ready endpoints", what, got.Status, ready)
		}
	}
	silent := func(n husk.Node) {
		t.Helper()
		if late, err := h.SetNodeState(t.Context(), h.epoch(), h.getNode(n.ID), husk.NodeSuspect); err != nil || !late {
			t.Fatal(late, err)
		}
	}
	want("while both nodes respond", 2)
	silent(one)
	want("while one node is silent", 1)
	silent(two)
	want("while both nodes are silent", 2)
	h.heartbeat(h.getNode(one.ID))
	want("when one node responds again", 1)
}

// The database decides which pods are ready, and the server shows which ones are. They agree.
func TestReadinessIsTheSameInTheDatabase(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	c := h.connect(store.RoleControl)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a fixed sequence
	ready := map[bool]int{}
	for range 300 {
		spec, statuses := pod.Spec, []husk.ContainerStatus{}
		one := pod.Spec.Containers[0]
		spec.Containers, spec.InitContainers = nil, nil
		for i := range 1 + random.IntN(3) {
			one.Name = fmt.Sprintf("c%d", i)
			spec.Containers = append(spec.Containers, one)
		}
		for i := range random.IntN(3) {
			init := one
			if init.Name = fmt.Sprintf("i%d", i); random.IntN(2) == 0 {
				init.RestartPolicy = husk.RestartAlways
			}
			spec.InitContainers = append(spec.InitContainers, init)
		}
		for _, container := range spec.AllContainers() {
			for range 1 + random.IntN(8)/7 {
				s := husk.ContainerStatus{Name: container.Name, State: husk.ContainerRunning}
				switch random.IntN(8) {
				case 0:
					s.State = husk.ContainerExited
				case 1:
					s.Ready = new(false)
				case 2:
					continue
				case 3, 4, 5:
					s.Ready = new(true)
				}
				statuses = append(statuses, s)
			}
		}
		phase := husk.PhaseRunning
		if random.IntN(6) == 0 {
			phase = husk.PhaseStopping
		}
		rawSpec, err := json.Marshal(spec)
		must(t, rawSpec, err)
		rawStatuses, err := json.Marshal(statuses)
		must(t, rawStatuses, err)
		var is bool
		if err := c.QueryRow(t.Context(), `SELECT pod_ready(jsonb_populate_record(p, jsonb_build_object('phase', $1::text, 'spec', $2::jsonb, 'containers', $3::jsonb))) FROM pods p WHERE id = $4`,
			phase, rawSpec, rawStatuses, pod.ID).Scan(&is); err != nil {
			t.Fatal(err)
		}
		want := husk.Pod{Spec: spec, Status: husk.PodStatus{Phase: phase, Containers: statuses}}.WithReadiness().Status.Ready
		if ready[want]++; is != want {
			t.Errorf("the database says %v, want %v: %s %s %s", is, want, phase, rawSpec, rawStatuses)
		}
	}
	if ready[true] < 20 || ready[false] < 20 {
		t.Errorf("the cases are one-sided: %v", ready)
	}
}

// Pods that run before the upgrade are endpoints afterwards, and a server of the previous version, which knows no services, still tells those who
// wait for changes of the network.
func TestExistingPodsBecomeEndpoints(t *testing.T) {
	t.Parallel()
	s := schemaAt(t, 30)
	const tenant, network, node = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000003", "00000000-0000-4000-8000-000000000002"
	s.exec(`INSERT INTO tenants (id, name, quota_pods, quota_cpu_millis, quota_memory_mib, quota_volumes, quota_volume_gib, quota_images, quota_snapshots, quota_networks, quota_addresses, quota_requests_per_second)
		VALUES ('` + tenant + `', 'acme', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`)
	s.exec(`INSERT INTO nodes (id, name) VALUES ('` + node + `', 'metal-1')`)
	control := s.as(store.RoleControl)
	control.exec(`INSERT INTO networks (tenant_id, id, ordinal, cidr) VALUES ('` + tenant + `', '` + network + `', 0, '10.64.0.0/24')`)
	control.exec(`INSERT INTO pods (tenant_id, id, name, labels, spec, containers, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, holds_room) VALUES
		('` + tenant + `', gen_random_uuid(), 'ready', '{"app": "web"}', '{"containers": [{"name": "main"}]}', '[{"name": "main", "state": "Running"}]', 1, 1, '` + network + `', '10.64.0.2', '02:00:00:00:00:02', 'Running', '` + node + `', true),
		('` + tenant + `', gen_random_uuid(), 'waits', '{"app": "web"}', '{"containers": [{"name": "main"}]}', '[{"name": "main", "state": "Waiting"}]', 1, 1, '` + network + `', '10.64.0.3', '02:00:00:00:00:03', 'Running', '` + node + `', true)`)
	control.exec(`DELETE FROM outbox`)
	s.migrate(31)
	control.want(`SELECT string_agg(name || ' ' || pod_ready(pods), ',' ORDER BY name) FROM pods`, "ready true,waits false")
	s.want(`SELECT quota_services::text FROM tenants`, "100")
	hinted := `SELECT count(*)::text FROM outbox WHERE topic = 'network:` + tenant + `'`
	control.exec(`UPDATE pods SET containers = '[{"name": "main", "state": "Waiting", "restarts": 1}]' WHERE name = 'waits'`)
	control.want(hinted, "0")
	control.exec(`UPDATE pods SET containers = '[{"name": "main", "state": "Running"}]' WHERE name = 'waits'`)
	control.want(hinted, "1")
	control.exec(`UPDATE pods SET phase = 'Stopping' WHERE name = 'ready'`)
	control.want(hinted, "2")
	if _, err := control.conn.Exec(t.Context(), `INSERT INTO services (tenant_id, id, network_id, name, labels, selector, ports, affinity_seconds, address)
		SELECT tenant_id, gen_random_uuid(), id, n, '{}', '[]', '[]', 0, '100.127.0.1' FROM networks, unnest(ARRAY['a', 'b']) n`); err == nil {
		t.Error("two services have the same address")
	}
}

// What was known last of a pod does not make it an endpoint: not after its node is heard again but has not reported, and not while the node recovers from a
// fence.
func TestAPodThatIsNotKnownIsNoReadyEndpoint(t *testing.T) {
	t.Parallel()
	for _, fenced := range []bool{false, true} {
		h := open(t)
		tenant, node, other := h.tenant(), h.node(10), h.node(10)
		as, image := h.as(tenant.ID), h.image(tenant)
		made, err := as.Services().Create(t.Context(), once(), webService("web"))
		must(t, made, err)
		pod := h.webPod(tenant, node, image)
		h.runs(node, pod, true)
		h.runs(other, h.webPod(tenant, other, image), true)
		ready := func() int {
			t.Helper()
			s, err := as.Services().Get(t.Context(), made.ID)
			return must(t, s, err).Status.ReadyEndpoints
		}
		h.lose(node)
		n, err := h.MarkPodsUnknown(t.Context(), h.epoch(), 10)
		must(t, n, err)
		if fenced {
			_, led, err := h.BeginFence(t.Context(), h.epoch(), node.ID, []string{"192.0.2.7:0/1"})
			must(t, led, err)
			done, err := h.SetFenced(t.Context(), h.epoch(), node.ID)
			must(t, done, err)
			h.beat(node, 1)
		} else {
			h.heartbeat(node)
		}
		if got := ready(); got != 1 {
			t.Errorf("on a node that is %s, a pod that is not known counts: %d endpoints are ready, want 1", h.getNode(node.ID).State, got)
		}
		if !fenced {
			h.runs(node, pod, true)
			if got := ready(); got != 2 {
				t.Errorf("after the report, %d endpoints are ready, want 2", got)
			}
		}
	}
}
