// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"fmt"
	"io"
	"time"

	"husk/cli/print"
	"husk/openapi"
)

// DescribePlacement prints a decision of the scheduler and its reasons.
func DescribePlacement(w io.Writer, p openapi.Placement) error {
	var f print.Facts
	f.Add("Outcome:", string(p.Outcome))
	f.Add("Node:", openapi.Value(p.NodeName))
	f.Add("Reason:", string(openapi.Value(p.Reason)))
	f.Add("Message:", openapi.Value(p.Message))
	if p.DecidedAt != nil {
		f.Add("Decided:", p.DecidedAt.Format(time.RFC3339)+", "+print.Age(*p.DecidedAt)+" ago")
	}
	if p.Attempts > 0 {
		f.Add("Attempts:", fmt.Sprint(p.Attempts))
		f.Add("Next attempt:", print.Time(p.NextTryAt))
	}
	if s := p.Score; s != nil {
		f.Add("Nodes compared:", fmt.Sprint(s.NodesCompared))
		f.Add("First pod of its node:", fmt.Sprint(s.OpenedNode))
		f.Add("Stranded capacity:", fmt.Sprintf("%.4f nodes before, %.4f after", s.StrandedBefore, s.StrandedAfter))
		f.Add("Free capacity left:", fmt.Sprintf("%.3f nodes", s.LeftFree))
		f.Add("Score:", fmt.Sprintf("%.4f", s.Total))
	}
	if r := p.Refusal; r != nil {
		f.Gap()
		for _, line := range []struct {
			name string
			n    int
		}{
			{"Nodes:", openapi.Value(r.Nodes)},
			{"  not ready:", openapi.Value(r.NotReady)},
			{"  selector does not match:", openapi.Value(r.NotSelected)},
			{"  taint not tolerated:", openapi.Value(r.NotTolerated)},
			{"  excluded by a rule:", openapi.Value(r.Crowded)},
			{"  insufficient CPU:", openapi.Value(r.LackCPU)},
			{"  insufficient memory:", openapi.Value(r.LackMemory)},
		} {
			if line.n > 0 {
				f.Add(line.name, fmt.Sprint(line.n))
			}
		}
		if l := r.NearestLacks; l != nil {
			f.Add("Best node:", fmt.Sprintf("%s lacks %s cores and %d MiB", openapi.Value(r.NearestNode), print.Cores(l.CPUMillis), l.MemoryMiB))
		}
		for _, pod := range openapi.Value(r.WouldMakeRoom) {
			f.Add("Delete to free enough:", fmt.Sprintf("pod %s with %s cores and %d MiB", pod.ID, print.Cores(pod.Resources.CPUMillis), pod.Resources.MemoryMiB))
		}
	}
	return f.Print(w)
}
