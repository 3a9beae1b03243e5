// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/onewriter"
	"husk/test/stack"
)

// BenchmarkFailover measures how long a pod with a volume does not run when its node loses its power, with the servers' default settings. Most of that
// is the node's lease with its margin, and the boot of the next machine. The rest is Husk's own work: to notice the end of the lease, to fence the node, to
// place the pod, to create its key, and to start its machine. The floor is a start of the same pod without a failure, in the same run.
func BenchmarkFailover(b *testing.B) {
	const lease, margin = 30 * time.Second, 5 * time.Second
	f := stack.StartFleet(b, 3, "--heartbeat", "5s", "--lease", lease.String(), "--lease-margin", margin.String())
	tn := f.NewTenant(b)
	h := onewriter.Start(b, tn, onewriter.Image(b, tn), "writer", nil)
	h.Writes(b, 1, 1)
	var totals, own, boots, floors []time.Duration
	for b.Loop() {
		before := tn.Wait(b, h.Pod.ID, openapi.PodPhaseRunning)
		floors = append(floors, before.Status.Timeline.RunningAt.Sub(*before.Status.Timeline.DomainStartedAt))
		runs := h.Runs()
		dead := f.NodeOf(b, h.Pod.ID)
		dead.Kill(b)
		killed := time.Now()
		dead.Await(b, openapi.NodeStateFenced)
		node, err := tn.Operator.Nodes.Find(b.Context(), dead.Name)
		if err != nil {
			b.Fatal(err)
		}
		h.Writes(b, runs+1, 1)
		at := tn.Wait(b, h.Pod.ID, openapi.PodPhaseRunning).Status.Timeline
		totals = append(totals, at.RunningAt.Sub(killed))
		own = append(own, at.DomainStartedAt.Sub(node.HeartbeatAt.Add(lease+margin)))
		boots = append(boots, at.RunningAt.Sub(*at.DomainStartedAt))
		dead.Start(b)
		dead.Await(b, openapi.NodeStateReady)
	}
	fmt.Printf("\n%d failovers with a lease of %s and a margin of %s, in seconds: median, longest\n", len(totals), lease, margin)
	for _, row := range []struct {
		what string
		of   []time.Duration
	}{{"from the loss of power to Running elsewhere", totals}, {"Husk's own work after lease and margin", own}, {"boot of the next machine", boots}, {"boot without a failure", floors}} {
		slices.Sort(row.of)
		fmt.Printf("  %-45s %6.1f %6.1f\n", row.what, row.of[len(row.of)/2].Seconds(), row.of[len(row.of)-1].Seconds())
	}
	b.ReportMetric(totals[len(totals)-1].Seconds(), "s-to-Running")
	b.ReportMetric(own[len(own)-1].Seconds(), "s-own-work")
	if err := h.Check(b); err != nil {
		b.Error(err)
	}
}
