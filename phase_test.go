// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
)

var update = flag.Bool("update", false, "rewrite the files that are generated from code")

// The next phase for each phase and event. "" means that the event is ignored. It repeats the table
// in phase.go, so that a change of the table needs a change here too.
var wantNext = map[husk.Phase]map[husk.PhaseEvent]husk.Phase{
	"Pending": {
		"placed": "Starting", "starting": "", "running": "", "succeeded": "", "failed": "",
		"delete": "Gone", "stopping": "", "gone": "", "evict": "", "requeue": "",
		"stop": "Stopped", "start": "", "halt": "", "fenced": "",
	},
	"Starting": {
		"placed": "", "starting": "Starting", "running": "Running", "succeeded": "Succeeded", "failed": "Failed",
		"delete": "Stopping", "stopping": "", "gone": "", "evict": "Stopping", "requeue": "",
		"stop": "Stopping", "start": "", "halt": "", "fenced": "Pending",
	},
	"Running": {
		"placed": "", "starting": "Starting", "running": "Running", "succeeded": "Succeeded", "failed": "Failed",
		"delete": "Stopping", "stopping": "", "gone": "", "evict": "Stopping", "requeue": "",
		"stop": "Stopping", "start": "", "halt": "", "fenced": "Pending",
	},
	"Succeeded": {
		"placed": "", "starting": "", "running": "", "succeeded": "Succeeded", "failed": "",
		"delete": "Stopping", "stopping": "", "gone": "", "evict": "", "requeue": "",
		"stop": "", "start": "Stopping", "halt": "", "fenced": "",
	},
	"Failed": {
		"placed": "", "starting": "", "running": "", "succeeded": "", "failed": "Failed",
		"delete": "Stopping", "stopping": "", "gone": "", "evict": "", "requeue": "",
		"stop": "", "start": "Stopping", "halt": "", "fenced": "",
	},
	"Stopping": {
		"placed": "", "starting": "", "running": "", "succeeded": "", "failed": "",
		"delete": "Stopping", "stopping": "Stopping", "gone": "Gone", "evict": "", "requeue": "Pending",
		"stop": "", "start": "", "halt": "Stopped", "fenced": "",
	},
	"Stopped": {
		"placed": "", "starting": "", "running": "", "succeeded": "", "failed": "",
		"delete": "Gone", "stopping": "", "gone": "", "evict": "", "requeue": "",
		"stop": "", "start": "Pending", "halt": "", "fenced": "",
	},
	"Gone": {
		"placed": "", "starting": "", "running": "", "succeeded": "", "failed": "",
		"delete": "", "stopping": "", "gone": "", "evict": "", "requeue": "",
		"stop": "", "start": "", "halt": "", "fenced": "",
	},
}

func TestEveryEventInEveryPhase(t *testing.T) {
	t.Parallel()
	got := map[husk.Phase]map[husk.PhaseEvent]husk.Phase{}
	for _, phase := range husk.Phases {
		got[phase] = map[husk.PhaseEvent]husk.Phase{}
		for _, e := range husk.PhaseEvents {
			next, ok := phase.Next(e)
			if ok != (next != "") {
				t.Errorf("the event %s in phase %s leads to %q and %v", e, phase, next, ok)
			}
			got[phase][e] = next
		}
	}
	if diff := cmp.Diff(wantNext, got); diff != "" {
		t.Errorf("the phase table (-want +got):\n%s", diff)
	}
}

func TestFreedCapacityIsNotAllocatedAgain(t *testing.T) {
	t.Parallel()
	for _, from := range husk.Phases {
		for _, e := range husk.PhaseEvents {
			to, ok := from.Next(e)
			// Pods enter Stopping with or without an allocation. The pod's row shows which.
			if ok && !from.Holds() && to.Holds() && from != husk.PhasePending && to != husk.PhaseStopping {
				t.Errorf("%s takes a pod whose capacity was freed from %s to %s, which allocates capacity", e, from, to)
			}
		}
	}
}

func TestADeletedPodAlwaysReachesGone(t *testing.T) {
	t.Parallel()
	for _, phase := range husk.Phases {
		if phase == husk.PhaseGone {
			continue
		}
		next, ok := phase.Next(husk.EventDelete)
		if ok && next == husk.PhaseStopping {
			next, ok = next.Next(husk.EventGone)
		}
		if !ok || next != husk.PhaseGone {
			t.Errorf("a deleted pod in phase %s does not reach Gone: %q", phase, next)
		}
	}
}

const phasesDoc = "docs/pod-phases.md"

func TestTheDiagramOfPhasesIsUpToDate(t *testing.T) {
	t.Parallel()
	want := "# The phases of a pod\n\n" +
		"This page is generated from the table in `phase.go`; `go test . -update` writes it.\n" +
		"An event that has no arrow from a phase does not change it: the event is late, does not apply there, or confirms the phase.\n" +
		"`placed`, `fenced` and `evict` come from the server's loops, `delete` from the tenant, and the others from the node's agent.\n" +
		"When the agent reports an evicted pod as gone, the server turns this into `requeue`.\n" +
		"While a pod's node does not respond, its phase is the last one that was known, and `status.unknownSince` says since when.\n\n" +
		"```mermaid\n" + husk.PhaseDiagram() + "```\n"
	upToDate(t, phasesDoc, want)
}

// upToDate compares a generated page with what it has to be, or writes it.
func upToDate(t *testing.T, page, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("docs", 0o755); err != nil { //nolint:gosec // everyone may read the documentation
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // everyone may read the documentation
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s does not match the table; write it with go test . -update (-want +got):\n%s", page, diff)
	}
}
