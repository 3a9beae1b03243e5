// SPDX-License-Identifier: Apache-2.0

// Package monitoring_test checks that the rules and dashboards in deploy/ use only metrics that the code exports. Renaming a metric makes it fail.
package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const deploy = "../../deploy"

// ruleFile is a rules file, with the metrics that its Prometheus scrapes.
type ruleFile struct {
	name, tests string
	metrics     func(t *testing.T) series
}

var ruleFiles = []ruleFile{
	{"prometheus-rules.yml", "prometheus-rules.test.yml", operatorMetrics},
	{"prometheus-tenant-rules.yml", "prometheus-tenant-rules.test.yml", tenantMetrics},
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func (f ruleFile) rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	raw, err := os.ReadFile(filepath.Join(deploy, f.name))
	if err == nil {
		err = yaml.Unmarshal(raw, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%s has only %d rules", f.name, len(all))
	}
	return all
}

// recorded returns the names of the recording rules.
func recorded(rules []rule) []string {
	var names []string
	for _, r := range rules {
		if r.Record != "" {
			names = append(names, r.Record)
		}
	}
	return names
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = deploy
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", "prometheus.yml") // promtool also checks the rule files that the configuration names
	promtool(t, "check", "config", "prometheus-tenant.yml")
}

func TestRulesPassTheirTests(t *testing.T) {
	t.Parallel()
	for _, f := range ruleFiles {
		promtool(t, "test", "rules", f.tests)
	}
}

func TestEveryAlertIsTestedAndDescribed(t *testing.T) {
	t.Parallel()
	for _, f := range ruleFiles {
		tests, err := os.ReadFile(filepath.Join(deploy, f.tests))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, r := range f.rules(t) {
			if r.Alert == "" {
				continue
			}
			if seen[r.Alert] {
				t.Errorf("%s has two alerts %s", f.name, r.Alert)
			}
			seen[r.Alert] = true
			if fires := regexp.MustCompile(`labels: '\{alertname="` + r.Alert + `"`); !fires.Match(tests) {
				t.Errorf("%s has no test in which %s fires", f.tests, r.Alert)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 40 {
				t.Errorf("%s has no summary, or a description shorter than 40 characters: %v", r.Alert, r.Annotations)
			}
		}
	}
}

// Each alert leads to a section of the runbook, and each section belongs to an alert.
func TestEveryAlertHasASectionInTheRunbook(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^### (Husk\w+)$`).FindAllStringSubmatch(string(raw), -1) {
		sections[heading[1]] = true
	}
	for _, f := range ruleFiles {
		for _, r := range f.rules(t) {
			if r.Alert == "" {
				continue
			}
			if !sections[r.Alert] {
				t.Errorf("docs/runbook.md has no section about %s", r.Alert)
			}
			delete(sections, r.Alert)
			if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
				t.Errorf("the runbook_url of %s is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
			}
		}
	}
	for name := range sections {
		t.Errorf("docs/runbook.md has a section about %s, which is no alert", name)
	}
}

func TestRulesUseExportedMetrics(t *testing.T) {
	t.Parallel()
	for _, f := range ruleFiles {
		rules, m := f.rules(t), f.metrics(t)
		for _, r := range rules {
			for _, wrong := range m.wrong(r.Expr, recorded(rules)) {
				t.Errorf("%s: rule %s%s uses %s", f.name, r.Record, r.Alert, wrong)
			}
		}
	}
}

// The checks themselves are tested too. Otherwise a check that never reports anything would pass.
func TestUnknownMetricsAreReported(t *testing.T) {
	t.Parallel()
	m := operatorMetrics(t)
	for expr, want := range map[string]string{
		`rate(husk_renamed_total{x="husk_pods"}[5m])`: "husk_renamed_total, which nothing exports",
		`husk_pods{state="Running"}`:                  "the label state of husk_pods",
		`husk_pods_bucket`:                            "husk_pods_bucket, which nothing exports",
		`husk_loop_duration_seconds`:                  "husk_loop_duration_seconds, which nothing exports",
		`job:husk_nothing:sum > 1`:                    "job:husk_nothing:sum, which no rule records",
		`sum by (fase) (husk_pods)`:                   "the label fase, which no metric has",

		// Existing metrics and labels are not reported.
		`sum by (phase) (husk_pods{phase=~"a|b"}) / on (phase) job:known:sum`:    "",
		`rate(husk_loop_duration_seconds_count{loop="x", job="y"}[5m]) > 1e3`:    "",
		`histogram_quantile(0.9, husk_scheduler_latency_seconds_bucket{le="1"})`: "",
	} {
		got := m.wrong(expr, []string{"job:known:sum"})
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", expr, got, want)
		}
	}
}
