package scheduler_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"husk/scheduler"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const scenarios = "testdata/scenarios.txt"

func TestScenarios(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(scenarios)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(raw), "\n== ")
	rewritten := head
	for block := range strings.SplitSeq(rest, "\n== ") {
		title, body, _ := strings.Cut(block, "\n")
		input, want, found := strings.Cut(body, "----\n")
		if !found {
			t.Fatalf("%q has no line of dashes", title)
		}
		nodes, pods := parse(t, input)
		got := describe(scheduler.Schedule(nodes, pods))
		rewritten += fmt.Sprintf("\n== %s\n%s----\n%s", title, input, got)
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" && !*update {
			t.Errorf("%s (-want +got):\n%s", title, diff)
		}
	}
	if *update {
		if err := os.WriteFile(scenarios, []byte(rewritten), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func parse(t *testing.T, input string) (nodes []scheduler.Node, pods []scheduler.Pod) {
	t.Helper()
	size := func(s string) (r scheduler.Resources) {
		if _, err := fmt.Sscanf(s, "%d/%d", &r.CPUMillis, &r.MemoryMiB); err != nil {
			t.Fatalf("%q is not a size: %v", s, err)
		}
		return r
	}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		switch {
		case len(words) >= 3 && words[0] == "pod":
			p := scheduler.Pod{ID: words[1], Size: size(words[2])}
			for i := 3; i+1 < len(words); i += 2 {
				switch value := words[i+1]; words[i] {
				case "priority":
					fmt.Sscan(value, &p.Priority)
				case "wants":
					p.Selector = pairs(value)
				case "of":
					p.Group = value
				case "gang":
					p.Gang = value
				case "apart":
					p.Apart = value
				case "spread":
					p.Spread, p.MaxSkew = value, 1
				default:
					t.Fatalf("what is %q?", line)
				}
			}
			pods = append(pods, p)
		case len(words) >= 4 && words[0] == "node" && words[2] == "holds":
			n := scheduler.Node{ID: words[1], Capacity: size(words[3]), Ready: !slices.Contains(words, "notready")}
			if i := slices.Index(words, "used"); i > 0 {
				n.Allocated = size(words[i+1])
			}
			if i := slices.Index(words, "overhead"); i > 0 {
				n.Overhead = size(words[i+1])
			}
			if i := slices.Index(words, "labels"); i > 0 {
				n.Labels = pairs(words[i+1])
			}
			nodes = append(nodes, n)
		case len(words) > 0:
			t.Fatalf("what is %q?", line)
		}
	}
	return nodes, pods
}

func pairs(s string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(pair, "=")
		m[k] = v
	}
	return m
}

func describe(plan scheduler.Plan) string {
	var b strings.Builder
	for _, p := range plan.Placements {
		fmt.Fprintf(&b, "%s on %s\n", p.PodID, p.NodeID)
	}
	for _, r := range plan.Refusals {
		fmt.Fprintf(&b, "%s nowhere, %s: %s\n", r.PodID, r.Reason, r.Message())
	}
	return b.String()
}
