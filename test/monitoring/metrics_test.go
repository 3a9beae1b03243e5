// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"husk/server/metrics"
)

// series maps the names of the series that a Prometheus has to their labels.
type series map[string][]string

// scraped are labels that Prometheus adds by itself or because of the configurations in deploy/.
var scraped = []string{"job", "instance", "node"}

func (m series) add(name, kind string, labels []string) {
	labels = append(slices.Clone(scraped), labels...)
	if kind != "histogram" {
		m[name] = labels
		return
	}
	m[name+"_count"], m[name+"_sum"], m[name+"_bucket"] = labels, labels, append(labels, "le")
}

func tenantMetrics(*testing.T) series {
	m := series{}
	for _, f := range metrics.Tenant() {
		m.add(f.Name, f.Type, f.AllLabels())
	}
	return m
}

// makers are the functions of the Prometheus library that create a metric, with the kind of metric.
var makers = map[string]string{
	"NewDesc": "", "NewGauge": "gauge", "NewGaugeVec": "gauge", "NewGaugeFunc": "gauge", "NewCounter": "counter", "NewCounterVec": "counter", "NewCounterFunc": "counter",
	"NewHistogram": "histogram", "NewHistogramVec": "histogram",
}

// operatorMetrics reads the operators' metrics from the source code of server and agent, because no
// single process exports all of them.
func operatorMetrics(t *testing.T) series {
	t.Helper()
	m := series{}
	for _, dir := range []string{"../../server", "../../server/*", "../../nodeagent", "../../nodeagent/names", "../../ingress/proxy"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				made, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || fmt.Sprint(made.X) != "prometheus" {
					return true
				}
				if kind, ok := makers[made.Sel.Name]; ok {
					name, labels := metricOf(call.Args)
					m.add(name, kind, labels)
				}
				return true
			})
		}
	}
	for _, expected := range []string{"husk_leading", "husk_nodes", "husk_http_request_duration_seconds_bucket", "husk_agent_pods", "husk_agent_machine_deaths_total"} {
		if m[expected] == nil {
			t.Fatalf("%s was not found in the code; it has %v", expected, slices.Sorted(maps.Keys(m)))
		}
	}
	return m
}

// metricOf finds a metric's name and labels in the arguments. The name is the first string, or the
// field Name. The labels are the only list.
func metricOf(args []ast.Expr) (name string, labels []string) {
	for _, arg := range args {
		ast.Inspect(arg, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if fmt.Sprint(n.Key) != "Name" {
					return false
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && name == "" {
					name = text
				}
			case *ast.CompositeLit:
				if _, list := n.Type.(*ast.ArrayType); list {
					for _, e := range n.Elts {
						if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
							label, _ := strconv.Unquote(text.Value) //nolint:errcheck // the code compiles, so the literal is valid
							labels = append(labels, label)
						}
					}
					return false
				}
			case *ast.FuncLit:
				return false
			}
			return true
		})
	}
	return name, labels
}

var (
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

// wrong returns the metrics and labels in an expression that no process exports. It does not parse
// PromQL; promtool does.
func (m series) wrong(expr string, recorded []string) []string {
	var found []string
	plain := quoted.ReplaceAllString(expr, `""`)
	for _, s := range selector.FindAllStringSubmatch(plain, -1) {
		name, has := s[1], m[s[1]]
		for _, label := range word.FindAllString(s[2], -1) {
			if has != nil && !slices.Contains(has, label) {
				found = append(found, fmt.Sprintf("the label %s of %s", label, name))
			}
		}
	}
	known := map[string]bool{}
	for _, labels := range m {
		for _, l := range labels {
			known[l] = true
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(plain, -1) {
		for _, label := range word.FindAllString(g[1], -1) {
			if !known[label] {
				found = append(found, fmt.Sprintf("the label %s, which no metric has", label))
			}
		}
	}
	for _, name := range word.FindAllString(plain, -1) {
		switch {
		case slices.Contains(recorded, name) || m[name] != nil:
		case strings.Contains(strings.Trim(name, ":"), ":"):
			found = append(found, name+", which no rule records")
		case strings.HasPrefix(name, "husk_"):
			found = append(found, name+", which nothing exports")
		}
	}
	return found
}
