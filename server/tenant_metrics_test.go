// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/openapi"
	"husk/server/metrics"
	"husk/store"
)

// sampleBody returns an agent's sample of a pod.
func sampleBody(pod uuid.UUID, cpuNanos int64) map[string]any {
	body := map[string]any{
		"podId": pod, "cpuNanos": cpuNanos, "cpuStealNanos": 5_000_000, "machineBytes": 300 << 20,
		"guest": map[string]any{
			"memoryUsedBytes": 50 << 20, "memoryCachedBytes": 10 << 20, "oomKills": 2, "cpuPressure": 150, "ioPressure": 0,
			"fileSystems": []any{map[string]any{"volume": "data", "usedBytes": 4096, "capacityBytes": 8192}, map[string]any{"usedBytes": 1, "capacityBytes": 2}, map[string]any{"volume": "data", "usedBytes": 1, "capacityBytes": 2}},
		},
	}
	for i, name := range []string{
		"networkReceiveBytes", "networkReceivePackets", "networkReceiveErrors", "networkReceiveDrops", "networkTransmitBytes", "networkTransmitPackets",
		"networkTransmitErrors", "networkTransmitDrops", "diskReadBytes", "diskReadOperations", "diskWriteBytes", "diskWriteOperations",
	} {
		body[name] = i + 1
	}
	return body
}

func (s fixture) sendSamples(agent fixture, samples ...map[string]any) {
	s.t.Helper()
	if a := agent.call("POST", "/v1/agent/samples", "", map[string]any{"pods": samples}); a.status != 204 {
		s.t.Fatalf("the samples get the response %d %s", a.status, a.body)
	}
}

// scrape makes the server read the metrics from the database, and then requests them.
func (s fixture) scrape(token string) response {
	s.t.Helper()
	s.metrics.Forget()
	return s.call("GET", "/v1/metrics", token, nil)
}

func (s fixture) connect(role string) *pgx.Conn {
	s.t.Helper()
	db, err := pgx.Connect(s.t.Context(), s.database(role))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close(context.WithoutCancel(s.t.Context())) })
	return db
}

func TestATenantScrapesOnlyItsOwnPods(t *testing.T) {
	t.Parallel()
	s := open(t)
	mine, theirs := s.tenant(), s.tenant()
	node, agent := s.node()
	_, other := s.node()
	pod, foreign, waiting := s.createPod(mine), s.createPod(theirs), s.createPod(mine)
	s.place(node, mine, pod.ID)
	s.place(node, theirs, foreign.ID)
	s.report(agent, pod.ID, 1, husk.EventRunning)
	s.report(agent, foreign.ID, 1, husk.EventRunning)
	as[openapi.Volume](t, s.call("POST", "/v1/volumes", mine.token, map[string]any{"name": "data", "sizeGiB": 3}), 201)
	for _, c := range []tenancy{mine, theirs} {
		as[openapi.Service](t, s.call("POST", "/v1/services", c.token, map[string]any{"name": "web", "selector": "!canary", "headless": true}), 201)
	}
	s.sendSamples(agent, sampleBody(pod.ID, 4_250_000_000), sampleBody(pod.ID, 1), sampleBody(foreign.ID, 77_000_000_000), sampleBody(uuid.New(), 1))
	s.sendSamples(other, sampleBody(pod.ID, 99_000_000_000)) // this pod is not on the other agent's node

	a := s.scrape(mine.token)
	if got := a.header.Get("Content-Type"); a.status != 200 || got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatalf("a scrape gets the response %d %s %s", a.status, got, a.body)
	}
	name := as[openapi.Tenant](t, s.call("GET", "/v1/admin/tenants/"+mine.id.String(), s.operator(), nil), 200).Name
	of := `{tenant="` + name + `",pod="` + pod.Name + `"`
	for _, line := range []string{
		"husk_pod_cpu_seconds_total" + of + "} 4.25", "husk_pod_cpu_steal_seconds_total" + of + "} 0.005", "husk_pod_cpu_limit_cores" + of + "} 0.5",
		"husk_pod_memory_limit_bytes" + of + "} 134217728", "husk_pod_memory_used_bytes" + of + "} 52428800", "husk_pod_memory_cached_bytes" + of + "} 10485760",
		"husk_pod_machine_memory_bytes" + of + "} 314572800", "husk_pod_oom_kills_total" + of + "} 2", "husk_pod_network_receive_bytes_total" + of + "} 1",
		"husk_pod_network_transmit_drops_total" + of + "} 8", "husk_pod_disk_written_bytes_total" + of + "} 11", "husk_pod_restarts_total" + of + "} 0",
		"husk_pod_pressure_ratio" + of + `,resource="cpu"} 0.015`, "husk_pod_phase" + of + `,phase="Running"} 1`, "husk_container_restarts_total" + of + `,container="main"} 0`,
		"husk_container_ready" + of + `,container="main"} 1`,
		"husk_pod_volume_used_bytes" + of + `,volume="data"} 4096`, "husk_pod_volume_capacity_bytes" + of + `,volume="data"} 8192`,
		"husk_pod_scratch_used_bytes" + of + "} 1", "husk_pod_scratch_capacity_bytes" + of + "} 2",
		`husk_pod_phase{tenant="` + name + `",pod="` + waiting.Name + `",phase="Pending"} 1`, `husk_volume_size_bytes{tenant="` + name + `",volume="data"} 3221225472`,
		`husk_service_endpoints{tenant="` + name + `",service="web"} 1`, `husk_service_ready_endpoints{tenant="` + name + `",service="web"} 1`, `husk_quota_used{tenant="` + name + `",resource="services"} 1`,
		`husk_quota_used{tenant="` + name + `",resource="pods"} 2`, `husk_quota_used{tenant="` + name + `",resource="cpu_cores"} 1`,
	} {
		if !slices.Contains(strings.Split(a.body, "\n"), line) {
			t.Errorf("there is no line %s", line)
		}
	}
	if n := strings.Count(a.body, "husk_pod_volume_used_bytes"+of); n != 1 {
		t.Errorf("the volume of the pod is there %d times", n)
	}
	for line := range strings.Lines(a.body) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, `{tenant="`+name+`"`) || strings.Contains(line, foreign.Name) || strings.Contains(line, foreign.ID.String()) {
			t.Errorf("the tenant gets the line %s", line)
		}
	}
	if a := s.call("GET", "/v1/metrics?tenant="+theirs.id.String(), mine.token, nil); strings.Contains(a.body, foreign.Name) {
		t.Error("a request can select another tenant")
	}
	if got := s.scrape(theirs.token).body; strings.Contains(got, pod.Name) || !strings.Contains(got, "} 77\n") {
		t.Errorf("the other tenant gets %s", got)
	}
	wantProblem(t, s.call("GET", "/v1/metrics", s.operator(), nil), 403, husk.CodeForbidden, "")

	targets := as[[]openapi.MetricsTarget](t, s.call("GET", "/v1/metrics/targets", mine.token, nil), 200)
	if len(targets) != 1 || targets[0].Labels["__meta_husk_pod_name"] != pod.Name || len(targets[0].Targets) != 1 {
		t.Errorf("the targets are %+v", targets)
	}
}

// A scrape reads the pods of its own tenant only, however many others there are. So nothing of another tenant can break it either.
func TestAScrapeReadsOnlyItsTenant(t *testing.T) {
	t.Parallel()
	s := open(t)
	mine, theirs := s.tenant(), s.tenant()
	pod, other := s.createPod(mine), s.createPod(theirs)
	if _, err := s.connect(store.RoleControl).Exec(t.Context(), `UPDATE pods SET containers = '"unreadable"' WHERE id = $1`, other.ID); err != nil {
		t.Fatal(err)
	}
	if a := s.scrape(mine.token); a.status != 200 || !strings.Contains(a.body, pod.Name) {
		t.Errorf("a scrape gets the response %d %s", a.status, a.body)
	}
	if a := s.scrape(theirs.token); a.status != 500 {
		t.Errorf("the other tenant's scrape gets the response %d, so the row can be read and the test proves nothing", a.status)
	}
	const reads = "husk_tenant_metrics_reads_total 1\n" // the failed one does not count
	if got := s.call("GET", "/metrics", s.operator(), nil).body; !strings.Contains(got, reads) {
		t.Errorf("the server's metrics do not contain %s", reads)
	}
}

// Scrapes that arrive together share reads.
func TestScrapesShareReads(t *testing.T) {
	t.Parallel()
	s := open(t)
	tenants := make([]tenancy, 10)
	for i := range tenants {
		tenants[i] = s.tenant()
	}
	var running sync.WaitGroup
	for range 3 {
		for _, c := range tenants {
			running.Go(func() {
				if a := s.call("GET", "/v1/metrics", c.token, nil); a.status != 200 || !strings.Contains(a.body, "husk_quota_used") {
					t.Errorf("a scrape gets the response %d %s", a.status, a.body)
				}
			})
		}
	}
	running.Wait()
	const reads = "husk_tenant_metrics_reads_total 10\n"
	if got := s.call("GET", "/metrics", s.operator(), nil).body; !strings.Contains(got, reads) {
		t.Errorf("the server's metrics do not contain %s", reads)
	}
}

func TestOldSamplesAreNotExposed(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	s.report(agent, pod.ID, 1, husk.EventRunning)
	s.sendSamples(agent, sampleBody(pod.ID, 1))
	const series = "husk_pod_cpu_seconds_total{"
	if !strings.Contains(s.scrape(c.token).body, series) {
		t.Fatal("a sample is not exposed")
	}
	db := s.connect(store.RoleControl)
	if _, err := db.Exec(t.Context(), "UPDATE pod_samples SET at = at - interval '61 seconds'"); err != nil {
		t.Fatal(err)
	}
	if got := s.scrape(c.token).body; strings.Contains(got, series) || !strings.Contains(got, "husk_pod_memory_limit_bytes{") {
		t.Errorf("after a minute the metrics are %s", got)
	}
	if _, err := db.Exec(t.Context(), "UPDATE pod_samples SET at = at - interval '5 minutes'"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.store.ForgetSamples(t.Context()); n != 1 || err != nil {
		t.Errorf("%d samples were deleted: %v", n, err)
	}
}

func TestARevokedKeyCannotScrape(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	token := s.tokenOf(c, husk.RoleViewer)
	if a := s.scrape(token); a.status != 200 {
		t.Fatalf("a viewer gets the response %d %s", a.status, a.body)
	}
	if _, err := s.connect(store.RoleControl).Exec(t.Context(), "DELETE FROM api_keys WHERE client_id <> $1", c.owner.KeyID); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, s.scrape(token), 401, husk.CodeUnauthenticated, "") // scrape first makes the server forget its copy
	if a := s.scrape(c.token); a.status != 200 {
		t.Errorf("the owner gets the response %d %s", a.status, a.body)
	}
}

func TestAScrapeNeedsNoDatabase(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	s.createPod(c)
	before := s.scrape(c.token)
	s.db.Close() // from here on every query fails
	for range 10 {
		if a := s.call("GET", "/v1/metrics", c.token, nil); a.status != 200 || a.body != before.body {
			t.Fatalf("without a database a scrape gets the response %d %s", a.status, a.body)
		}
	}
}

// promtool checks Prometheus' best practices: base units, suffixes, help and types.
func promtool(t *testing.T, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestMetricsFollowTheNamingRulesOfPrometheus(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	node, agent := s.node()
	pod := s.createPod(c)
	s.place(node, c, pod.ID)
	if a := agent.call("POST", "/v1/agent/status", "", map[string]any{"pods": []any{map[string]any{
		"podId": pod.ID, "generation": 1, "event": "running", "restarts": 0, "domainStartedAt": "2026-03-02T09:00:00.5Z",
		"containers": []any{map[string]any{"name": "main", "state": "Running", "restarts": 0}},
	}}}); a.status != 204 {
		t.Fatalf("the report gets the response %d %s", a.status, a.body)
	}
	s.sendSamples(agent, sampleBody(pod.ID, 1))
	as[openapi.Volume](t, s.call("POST", "/v1/volumes", c.token, map[string]any{"name": "data", "sizeGiB": 3}), 201)
	as[openapi.Service](t, s.call("POST", "/v1/services", c.token, map[string]any{"name": "web", "selector": "app=web", "headless": true}), 201)
	group := as[openapi.SecurityGroup](t, s.call("POST", "/v1/security-groups", c.token, map[string]any{"name": "db", "rules": []any{map[string]any{"direction": "ingress"}}}), 201)
	if a := agent.call("POST", "/v1/agent/samples", "", map[string]any{
		"pods": []any{}, "securityCounts": []any{
			map[string]any{"rule": group.Rules[0].Number, "packets": 7, "bytes": 70}, map[string]any{"groupId": group.ID, "direction": "ingress", "packets": 3, "bytes": 30},
		},
		"securityDrops": []any{map[string]any{
			"at": "2026-03-02T09:00:00Z", "groupId": group.ID, "direction": "ingress", "podId": pod.ID, "protocol": "TCP", "source": "10.64.0.3", "destination": "10.64.0.2", "destinationPort": 22,
		}},
	}); a.status != 204 {
		t.Fatalf("the counts get the response %d %s", a.status, a.body)
	}
	traffic := as[openapi.SecurityTraffic](t, s.call("GET", "/v1/security-groups/"+group.ID.String()+"/traffic", c.token, nil), 200)
	if traffic.Rules[0].Packets != 7 || traffic.Dropped[0].Bytes != 30 || len(traffic.Drops) != 1 || openapi.Value(traffic.Drops[0].DestinationPort) != 22 {
		t.Errorf("the traffic is %+v", traffic)
	}
	as[openapi.Ingress](t, s.call("POST", "/v1/ingresses", c.token, map[string]any{"name": "web", "rules": rules("www.example.com")}), 201)
	tenants := s.scrape(c.token).body
	for _, f := range metrics.Tenant() {
		if !strings.Contains(tenants, "\n"+f.Name+"{") && !strings.HasPrefix(tenants, f.Name+"{") {
			t.Errorf("%s is not exposed", f.Name)
		}
	}
	promtool(t, tenants)
	own := s.call("GET", "/metrics", s.operator(), nil).body
	promtool(t, own)
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (husk_\S+)`).FindAllStringSubmatch(own, -1) {
		if !strings.Contains(string(manual), "`"+m[1]) {
			t.Errorf("docs/operations.md does not describe %s", m[1])
		}
	}
}
