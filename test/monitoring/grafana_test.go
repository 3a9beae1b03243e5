// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard has the fields of Grafana's format that these tests check.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct{ List []query }
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Datasource  *datasource
	Targets     []query
	FieldConfig struct{ Defaults struct{ Unit string } }
}

type query struct {
	Expr       string
	Datasource *datasource
}

type variable struct {
	Name, Type, Definition string
	Datasource             *datasource
}

type datasource struct{ Type, UID string }

// units are the units of Grafana that the dashboards may use.
var units = []string{"none", "percentunit", "s", "bytes", "Bps", "pps", "iops", "ops", "reqps"}

// dashboards returns the dashboard files, each with the rules file of its Prometheus.
func dashboards(t *testing.T) map[string]ruleFile {
	t.Helper()
	of := map[string]ruleFile{"husk-operator.json": ruleFiles[0], "husk-tenant.json": ruleFiles[1]}
	files, err := filepath.Glob(deploy + "/grafana/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, known := of[filepath.Base(file)]; !known {
			t.Errorf("%s is not in this test; add the rules file of its Prometheus", file)
		}
	}
	return of
}

func open(t *testing.T, name string) (d dashboard, raw string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "grafana", name))
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d, string(text)
}

var valuesOf = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// queries returns all queries of a dashboard, as Grafana sends them to Prometheus.
func (d dashboard) queries(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	for _, q := range d.Annotations.List {
		all = append(all, q.Expr)
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := valuesOf.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("%s: the variable %s has the query %q, which this test cannot read", d.Title, v.Name, v.Definition)
			continue
		}
		all = append(all, fmt.Sprintf("count by (%s) (%s)", m[2], m[1]))
	}
	for i, q := range all {
		all[i] = regexp.MustCompile(`\$\{?\w+\}?`).ReplaceAllString(strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(q), "any")
	}
	return all
}

// Prometheus' own parser checks the queries of the dashboards. They are written as rules, because promtool cannot check a single expression.
func TestPrometheusParsesTheQueriesOfDashboards(t *testing.T) {
	t.Parallel()
	for name := range dashboards(t) {
		d, _ := open(t, name)
		var b strings.Builder
		b.WriteString("groups:\n- name: queries\n  rules:\n")
		for i, q := range d.queries(t) {
			fmt.Fprintf(&b, "  - record: query:%d\n    expr: %q\n", i, q)
		}
		file := filepath.Join(t.TempDir(), "queries.yml")
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		promtool(t, "check", "rules", file)
	}
}

func TestDashboardsUseExportedMetrics(t *testing.T) {
	t.Parallel()
	for name, of := range dashboards(t) {
		d, _ := open(t, name)
		queries := d.queries(t)
		if len(queries) < 20 {
			t.Errorf("%s has only %d queries", name, len(queries))
		}
		for _, q := range queries {
			for _, wrong := range of.metrics(t).wrong(q, recorded(of.rules(t))) {
				t.Errorf("%s: %s uses %s", name, q, wrong)
			}
		}
	}
}

func TestDashboardsFitTheirGrafana(t *testing.T) {
	t.Parallel()
	for name := range dashboards(t) {
		d, raw := open(t, name)
		if d.UID == "" || d.Title == "" || d.SchemaVersion < 30 {
			t.Errorf("%s has the uid %q, the title %q and version %d of the schema", name, d.UID, d.Title, d.SchemaVersion)
		}
		defined := map[string]bool{}
		for _, v := range d.Templating.List {
			defined[v.Name] = true
			if !strings.Contains(raw, "$"+v.Name) && !strings.Contains(raw, "${"+v.Name+"}") {
				t.Errorf("%s: nothing uses the variable %s", name, v.Name)
			}
		}
		for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(raw, -1) {
			if !defined[used[1]] && !strings.HasPrefix(used[1], "__") {
				t.Errorf("%s uses the variable %s, which does not exist", name, used[1])
			}
		}
		for _, uid := range regexp.MustCompile(`"uid": "([^"]*)"`).FindAllStringSubmatch(raw, -1) {
			if uid[1] != "${datasource}" && uid[1] != d.UID {
				t.Errorf("%s has the data source %s, which only one installation has", name, uid[1])
			}
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if p.Title == "" || ids[p.ID] {
				t.Errorf("%s: the panel %d %q has no title, or another panel has the same ID", name, p.ID, p.Title)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, is := taken[[2]int{x, y}]; is || x >= 24 {
						t.Fatalf("%s: the panel %q overlaps %q or the edge", name, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Datasource == nil || len(p.Targets) == 0 || !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
				t.Errorf("%s: the panel %q has no data source, no queries, or the unit %q", name, p.Title, p.FieldConfig.Defaults.Unit)
			}
			for _, q := range p.Targets {
				if q.Expr == "" || q.Datasource == nil {
					t.Errorf("%s: the panel %q has an empty query, or one without a data source", name, p.Title)
				}
			}
		}
	}
}
