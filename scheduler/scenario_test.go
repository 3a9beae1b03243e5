// SPDX-License-Identifier: Apache-2.0

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

var update = flag.Bool("update", false, "rewrite the results in testdata")

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
			t.Fatalf("the scenario %q has no line of dashes", title)
		}
		c := parse(t, input)
		got := c.describe()
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

// script is the input of one scenario.
type script struct {
	cluster    scheduler.Snapshot
	pods       []scheduler.Pod
	defragment int // the number of moves; if it is not 0, the scenario plans a defragmentation
}

func parse(t *testing.T, input string) (c script) {
	t.Helper()
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case len(words) >= 3 && words[0] == "pod":
			p, rest := parsePod(t, line, words)
			if rest != "" {
				t.Fatalf("only a running pod can have a node: %q", line)
			}
			c.pods = append(c.pods, p)
		case len(words) >= 5 && words[0] == "running":
			p, on := parsePod(t, line, words)
			c.cluster.Running = append(c.cluster.Running, scheduler.Running{Pod: p, NodeID: on, Leaving: slices.Contains(words, "leaving")})
		case len(words) >= 4 && words[0] == "node" && words[2] == "holds":
			c.cluster.Nodes = append(c.cluster.Nodes, parseNode(t, line, words))
		case len(words) == 2 && words[0] == "defragment":
			fmt.Sscan(words[1], &c.defragment)
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return c
}

func parseSize(t *testing.T, s string) (r scheduler.Resources) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%d/%d", &r.CPUMillis, &r.MemoryMiB); err != nil {
		t.Fatalf("%q is not a size: %v", s, err)
	}
	return r
}

func parsePod(t *testing.T, line string, words []string) (p scheduler.Pod, on string) {
	t.Helper()
	p = scheduler.Pod{ID: words[1], Size: parseSize(t, words[2])}
	rule := func(kind scheduler.RuleKind, value string) {
		over, group, found := strings.Cut(value, ":")
		if !found {
			group = p.Groups[0]
		}
		p.Rules = append(p.Rules, scheduler.Rule{Kind: kind, Group: group, Over: over, MaxSkew: 1})
	}
	for i := 3; i+1 < len(words) && words[i] != "leaving"; i += 2 {
		switch value := words[i+1]; words[i] {
		case "priority":
			fmt.Sscan(value, &p.Priority)
		case "wants":
			p.Selector = pairs(value)
		case "prefers":
			p.Prefers = pairs(value)
		case "tolerates":
			p.Tolerates = strings.Split(value, ",")
		case "of":
			p.Groups = strings.Split(value, ",")
		case "gang":
			p.Gang = value
		case "apart", "near", "spread":
			rule(scheduler.RuleKind(words[i]), value)
		case "gpus":
			p.Extra = []int{0}
			fmt.Sscan(value, &p.Extra[0])
		case "keep":
			if len(p.Groups) > 0 {
				p.Disruption.Group = p.Groups[0]
			}
			fmt.Sscan(value, &p.Disruption.Keep)
		case "on":
			on = value
		default:
			t.Fatalf("unknown word %q in %q", words[i], line)
		}
	}
	return p, on
}

func parseNode(t *testing.T, line string, words []string) scheduler.Node {
	t.Helper()
	n := scheduler.Node{ID: words[1], Capacity: parseSize(t, words[3]), Ready: !slices.Contains(words, "notready")}
	for i := 4; i+1 < len(words) && words[i] != "notready"; i += 2 {
		switch value := words[i+1]; words[i] {
		case "used":
			n.Allocated = parseSize(t, value)
		case "overhead":
			n.Overhead = parseSize(t, value)
		case "labels":
			n.Labels = pairs(value)
		case "pool":
			n.Pool = value
		case "taints":
			n.Taints = strings.Split(value, ",")
		case "gpus":
			n.Extra = []int{0}
			fmt.Sscan(value, &n.Extra[0])
		default:
			t.Fatalf("unknown word %q in %q", words[i], line)
		}
	}
	return n
}

func pairs(s string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(pair, "=")
		m[k] = v
	}
	return m
}

// fleet returns the scenario's cluster as an index, and the ids of the running pods.
func (c script) fleet() (*scheduler.Fleet, map[scheduler.Handle]string) {
	f, ids := scheduler.NewFleet(c.cluster.Nodes, scheduler.Default()), map[scheduler.Handle]string{}
	for i := range c.cluster.Running {
		r := &c.cluster.Running[i]
		for node := range f.Len() {
			if f.Node(node) != r.NodeID {
				continue
			}
			h := f.Adopt(node, &r.Pod, 0)
			if ids[h] = r.Pod.ID; r.Leaving {
				f.Leaving(h)
			}
		}
	}
	return f, ids
}

func (c script) describe() string {
	var b strings.Builder
	if c.defragment > 0 {
		f, ids := c.fleet()
		for _, freed := range f.Defragment(c.defragment, func(int) bool { return true }) {
			fmt.Fprintf(&b, "%s can be emptied:", f.Node(freed.Node))
			for _, m := range freed.Moves {
				fmt.Fprintf(&b, " %s to %s", ids[m.Pod], f.Node(m.To))
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	plan := scheduler.Schedule(c.cluster, c.pods)
	for _, p := range plan.Placements {
		fmt.Fprintf(&b, "%s on %s\n", p.PodID, p.NodeID)
	}
	f, ids := c.fleet()
	for _, r := range plan.Refusals {
		fmt.Fprintf(&b, "%s refused, %s: %s\n", r.PodID, r.Reason, r.Message())
		if len(r.MakeRoom.Pods) > 0 && len(plan.Placements) == 0 { // handles of pods that were just placed have no names in this test
			fmt.Fprintf(&b, "  it would fit on %s without", f.Node(r.MakeRoom.Node))
			for _, h := range r.MakeRoom.Pods {
				b.WriteString(" " + ids[h])
			}
			b.WriteString("\n")
		}
	}
	for _, id := range plan.Evictions {
		fmt.Fprintf(&b, "%s is stopped\n", id)
	}
	return b.String()
}
