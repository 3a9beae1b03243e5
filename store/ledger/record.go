// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/store/convert"
	"husk/store/db"
)

// MisdatedRun is a run of a pod's virtual machine with an impossible start: before the pod was placed, or in the future.
type MisdatedRun struct {
	PodID               uuid.UUID
	StartedAt, PlacedAt time.Time
}

// Record records the runs of virtual machines that a node's agent reports, and returns the runs with impossible dates, which it did not
// record.
func Record(ctx context.Context, q *db.Queries, node uuid.UUID, runs []husk.MachineRun) ([]MisdatedRun, error) {
	begin, end, traffic := db.BeginRunsParams{NodeID: node}, db.EndRunsParams{NodeID: node}, db.CountTrafficParams{NodeID: node}
	for _, r := range runs {
		begin.PodIds, begin.Starts = append(begin.PodIds, r.PodID), append(begin.Starts, r.StartedAt)
		var size husk.Resources
		if r.Resources != nil {
			size = *r.Resources
		}
		begin.CpuMillis, begin.MemoryMib = append(begin.CpuMillis, size.CPUMillis), append(begin.MemoryMib, size.MemoryMiB)
		if r.StoppedAt != nil {
			end.PodIds, end.Starts, end.Stops = append(end.PodIds, r.PodID), append(end.Starts, r.StartedAt), append(end.Stops, *r.StoppedAt)
		}
		if r.ReceivedBytes > 0 || r.SentBytes > 0 {
			traffic.PodIds, traffic.Starts = append(traffic.PodIds, r.PodID), append(traffic.Starts, r.StartedAt)
			traffic.Received, traffic.Sent = append(traffic.Received, r.ReceivedBytes), append(traffic.Sent, r.SentBytes)
			traffic.OutsideReceived, traffic.OutsideSent = append(traffic.OutsideReceived, r.OutsideReceivedBytes), append(traffic.OutsideSent, r.OutsideSentBytes)
		}
	}
	refused, err := q.BeginRuns(ctx, begin)
	if err != nil {
		return nil, err
	}
	if err := q.CountTraffic(ctx, traffic); err != nil { // before the run ends, because the traffic came before the end
		return nil, err
	}
	return convert.All(refused, func(r db.BeginRunsRow) MisdatedRun { return MisdatedRun{r.ID, r.StartedAt, r.PlacedAt} }), q.EndRuns(ctx, end)
}
