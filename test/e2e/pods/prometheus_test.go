// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// prometheus is a running Prometheus with a configuration and rules from deploy/.
type prometheus struct{ url string }

var credentials = regexp.MustCompile(`client_id: .*|client_secret_file: .*`)

// startPrometheus starts Prometheus with these credentials and short intervals.
func startPrometheus(t *testing.T, s *stack.Stack, config, rules, id, secret, proxy string) prometheus {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{config, rules} {
		printed, err := os.ReadFile(filepath.Join(stack.Repository(), "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("server:8080", strings.TrimPrefix(s.Env["HUSK_API"], "http://"), "scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s",
			"    http_sd_configs:", "    proxy_url: "+proxy+"\n    http_sd_configs:").Replace(string(printed))
		write(name, credentials.ReplaceAllStringFunc(text, func(line string) string {
			if strings.HasPrefix(line, "client_id") {
				return "client_id: " + id
			}
			return "client_secret_file: " + filepath.Join(dir, "secret")
		}))
	}
	write("secret", secret)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, config), "--storage.tsdb.path="+filepath.Join(dir, "data"), //nolint:gosec,noctx // the cleanup ends it
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // an error means that it has already exited
		_ = cmd.Wait()                          //nolint:errcheck // as above
	})
	return prometheus{"http://" + address}
}

// waitForRules waits until at least atLeast rules are loaded and all of them have been evaluated
// without an error.
func (p prometheus) waitForRules(t *testing.T, atLeast int) {
	t.Helper()
	stack.Eventually(t, time.Minute, func() error {
		var rules struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := p.get(t.Context(), "/api/v1/rules", &rules); err != nil {
			return err
		}
		healthy := 0
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					return fmt.Errorf("the rule %s is %s: %s", r.Name, r.Health, r.LastError)
				}
				healthy++
			}
		}
		if healthy < atLeast {
			return fmt.Errorf("only %d rules are loaded", healthy)
		}
		return nil
	})
}

// scraperKey creates an API key that is limited to metrics.
func scraperKey(t *testing.T, tn *stack.Tenant) openapi.APIKeyWithSecret {
	t.Helper()
	_, key := tn.KeyOf(t, openapi.Viewer, openapi.APIKeyCreate{Name: "prometheus", LimitedTo: new(openapi.Metrics)})
	return key
}

// waitForDashboard runs every query of a dashboard in deploy/grafana until at least three quarters
// return data. A query with wrong labels does not fail, but returns no data.
func (p prometheus) waitForDashboard(t *testing.T, name string) {
	t.Helper()
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	printed, err := os.ReadFile(filepath.Join(stack.Repository(), "deploy/grafana", name))
	if err == nil {
		err = json.Unmarshal(printed, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error { // rates need two scrapes
		queries, withData := 0, 0
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				query := regexp.MustCompile(`\$\w+`).ReplaceAllString(strings.NewReplacer("$__rate_interval", "30s", "$__range", "1h").Replace(target.Expr), ".+")
				found, err := p.vector(t.Context(), query)
				if err != nil {
					return fmt.Errorf("%s: %w", query, err)
				}
				queries++
				withData += min(1, len(found))
			}
		}
		if queries < 20 || withData < queries*3/4 {
			return fmt.Errorf("%s has %d queries, and only %d of them return data", name, queries, withData)
		}
		return nil
	})
}

// get requests data from the API of Prometheus and decodes it.
func (p prometheus) get(ctx context.Context, path string, data any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	response := struct {
		Status string
		Data   any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil || response.Status != "success" {
		return fmt.Errorf("prometheus responds with %s %s: %w", resp.Status, response.Status, err)
	}
	return nil
}

// vector runs a query and returns the series of its result.
func (p prometheus) vector(ctx context.Context, query string) ([]series, error) {
	var response struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(query), &response); err != nil {
		return nil, err
	}
	var found []series
	for _, r := range response.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		found = append(found, series{r.Metric, v})
	}
	return found, nil
}

type series struct {
	labels map[string]string
	value  float64
}

// one runs a query that must return a single series, and returns its value.
func (p prometheus) one(ctx context.Context, query string) (float64, error) {
	found, err := p.vector(ctx, query)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s returns %v, want one series", query, found)
	}
	if err != nil {
		return 0, err
	}
	return found[0].value, nil
}

func TestTwoTenantsAreScrapedAndNeitherSeesTheOther(t *testing.T) {
	t.Parallel()
	tenants := []*stack.Tenant{stack.NewTenant(t), stack.NewTenant(t)}
	pods := make([]openapi.Pod, len(tenants))
	for i, tn := range tenants {
		image := tn.ImportImage(t, "busybox")
		// The pod sends much more than it receives, reads its image, exports its own metric, and runs two processes that compete for its single CPU.
		spec := openapi.PodSpec{
			Resources: openapi.Resources{CPUMillis: 1000, MemoryMiB: 160}, TerminationGracePeriodSeconds: new(2),
			Containers: []openapi.Container{stack.Shell(image, "busy() { while :; do i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; sleep 0.05; done; }; busy & busy & "+
				"mkdir /tmp/www && dd if=/dev/zero of=/tmp/www/big bs=1M count=2 && echo own_things 7 > /tmp/www/metrics && exec httpd -f -p 8080 -h /tmp/www")},
		}
		created, err := tn.API.Pods.Create(t.Context(), openapi.PodCreate{Name: fmt.Sprintf("busy-%d", i), Labels: &openapi.Labels{"metrics-port": "8080"}, Spec: spec})
		if err != nil {
			t.Fatalf("create a pod: %v", err)
		}
		pods[i] = created
	}
	const sent = 2 << 20
	for i, tn := range tenants {
		pods[i] = tn.Wait(t, pods[i].ID, openapi.PodPhaseRunning)
		never := openapi.Never
		reader := tn.Create(t, "reader", func(s *openapi.PodSpec) {
			s.RestartPolicy = &never
			s.Containers = []openapi.Container{stack.Shell(pods[i].Spec.Containers[0].Image, "until timeout 20 wget -q -O /tmp/big http://"+*pods[i].Status.Address+":8080/big; do sleep 1; done; test $(wc -c < /tmp/big) = "+fmt.Sprint(sent))}
		})
		tn.Wait(t, reader.ID, openapi.PodPhaseSucceeded)
		tn.DeletePod(t, reader.ID)
	}
	for i, tn := range tenants {
		key := scraperKey(t, tn)
		prom := startPrometheus(t, tn.Stack, "prometheus-tenant.yml", "prometheus-tenant-rules.yml", key.ClientID.String(), key.ClientSecret, tn.Proxy(t, pods[i]))
		name := pods[i].Name
		for query, fits := range map[string]func(v float64) bool{
			`own_things{job="pods",pod="` + name + `"}`:                     func(v float64) bool { return v == 7 },
			`count(own_things)`:                                             func(v float64) bool { return v == 1 },
			`husk_pod_cpu_steal_seconds_total{pod="` + name + `"}`:          func(v float64) bool { return v >= 0 && v < 1000 },
			`up{job="husk"}`:                                                func(v float64) bool { return v == 1 },
			`husk_pod_cpu_seconds_total{pod="` + name + `"}`:                func(v float64) bool { return v > 0.1 && v < 1000 },
			`husk_pod_pressure_ratio{resource="cpu",pod="` + name + `"}`:    func(v float64) bool { return v > 0 && v <= 1 },
			`husk_pod_pressure_ratio{resource="memory",pod="` + name + `"}`: func(v float64) bool { return v >= 0 && v < 1 },
			`husk_pod_pressure_ratio{resource="io",pod="` + name + `"}`:     func(v float64) bool { return v >= 0 && v < 1 },
			`husk_pod_memory_used_bytes{pod="` + name + `"}`:                func(v float64) bool { return v > 1<<20 && v < 160<<20 },
			`husk_pod_memory_cached_bytes{pod="` + name + `"}`:              func(v float64) bool { return v > 1<<16 && v < 160<<20 },
			`husk_pod_machine_memory_bytes{pod="` + name + `"}`:             func(v float64) bool { return v > 32<<20 && v < 1<<30 },
			`husk_pod_network_transmit_bytes_total{pod="` + name + `"}`:     func(v float64) bool { return v > sent && v < 2*sent },
			`husk_pod_network_receive_bytes_total{pod="` + name + `"}`:      func(v float64) bool { return v > 1000 && v < sent/2 },
			`husk_pod_scratch_used_bytes{pod="` + name + `"}`:               func(v float64) bool { return v > 0 && v < 1<<30 },
			`husk_pod_scratch_capacity_bytes{pod="` + name + `"}`:           func(v float64) bool { return v > 1<<30 },
			`husk_pod_disk_read_bytes_total{pod="` + name + `"}`:            func(v float64) bool { return v > 1<<16 },
			`husk_pod_phase{phase="Running",pod="` + name + `"}`:            func(v float64) bool { return v == 1 },
			`time() - husk_pod_start_time_seconds{pod="` + name + `"}`:      func(v float64) bool { return v > 0 && v < 600 },
			`husk_quota_used{resource="pods"}`:                              func(v float64) bool { return v == 1 },
			`count(count by (tenant) ({__name__=~"husk_.+"}))`:              func(v float64) bool { return v == 1 },
			`pod:husk_pod_memory_used:ratio{pod="` + name + `"}`:            func(v float64) bool { return v > 0 && v < 1 },
			`count(husk_pod_info{pod_id="` + pods[i].ID.String() + `"})`:    func(v float64) bool { return v == 1 },
		} {
			stack.Eventually(t, time.Minute, func() error {
				v, err := prom.one(t.Context(), query)
				if err == nil && !fits(v) {
					err = fmt.Errorf("%s is %v", query, v)
				}
				return err
			})
		}
		stack.Eventually(t, 2*time.Minute, func() error { // a minute has to end
			history, err := tn.API.Pods.History(t.Context(), pods[i].ID, time.Now().Add(-time.Hour))
			if err == nil && !slices.ContainsFunc(history, func(p openapi.StatsPoint) bool {
				return p.CPUMillis > 10 && p.CPUMillis < 1500 && p.MemoryUsedBytes != nil && *p.MemoryUsedBytes > 1<<20 && p.CPUPressurePercent != nil
			}) {
				err = fmt.Errorf("the history of the pod is %+v", history)
			}
			return err
		})
		prom.waitForRules(t, 15)
		prom.waitForDashboard(t, "husk-tenant.json")
		all, err := prom.vector(t.Context(), `{__name__=~"husk_.+"}`)
		if err != nil || len(all) < 30 {
			t.Fatalf("%d series: %v", len(all), err)
		}
		other := pods[1-i]
		for _, s := range all {
			if s.labels["pod"] == other.Name || s.labels["pod_id"] == other.ID.String() {
				t.Errorf("tenant %d sees %v", i, s.labels)
			}
		}
	}
}

// A single configuration scrapes the server and, through the server, the agents of all nodes.
func TestAnOperatorScrapesTheServerAndEveryNode(t *testing.T) {
	t.Parallel()
	s := stack.Get(t)
	prom := startPrometheus(t, s, "prometheus.yml", "prometheus-rules.yml", s.Env["HUSK_ADMIN_CLIENT_ID"], s.Env["HUSK_ADMIN_CLIENT_SECRET"], "")
	nodes, err := s.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("list nodes: %v: %+v", err, nodes)
	}
	for query, want := range map[string]float64{
		`count(up{job="husk-server"} == 1)`: 1, `sum(husk_leading)`: 1, `count(up{job="husk-agents"} == 1)`: float64(len(nodes)),
		`count(husk_agent_pods{node="` + nodes[0].Name + `"})`:                                          1,
		`count(husk_node_last_heartbeat_timestamp_seconds{node="` + nodes[0].Name + `"} > time() - 60)`: 1,
	} {
		stack.Eventually(t, time.Minute, func() error {
			v, err := prom.one(t.Context(), query)
			if err == nil && v != want {
				err = fmt.Errorf("%s is %v, want %v", query, v, want)
			}
			return err
		})
	}
	prom.waitForRules(t, 30)
	prom.waitForDashboard(t, "husk-operator.json")
	critical, err := prom.vector(t.Context(), `ALERTS{alertstate="firing", severity="critical"}`)
	if err != nil || len(critical) > 0 {
		t.Errorf("critical alerts are firing: %v, %v", critical, err)
	}
}

func TestAnOperatorReadsTheMetricsOfANode(t *testing.T) {
	t.Parallel()
	s := stack.Get(t)
	nodes, err := s.Operator.Nodes.List(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("list nodes: %v: %+v", err, nodes)
	}
	var got []byte
	stack.Eventually(t, 30*time.Second, func() error {
		resp, err := s.Operator.API().GetNodeMetrics(t.Context(), nodes[0].ID)
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
		if got, err = io.ReadAll(resp.Body); err == nil && !bytes.Contains(got, []byte("\nhusk_agent_sample_duration_seconds_count ")) {
			err = fmt.Errorf("the metrics are %s %s", resp.Status, got)
		}
		return err
	})
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(got)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
