// SPDX-License-Identifier: Apache-2.0

package nodelife

import (
	"context"
	"encoding/json"

	"husk"
	"husk/store/db"
	"husk/store/hints"
)

// Beat is what an agent reports with a heartbeat.
type Beat struct {
	husk.Node
	Machines int   // that the node has, or may have; -1 if the agent does not say
	Revision int64 // of the desired state that the agent had applied when it counted them
}

// next is what a heartbeat does in each state of a node.
var next = func() []byte {
	raw, err := json.Marshal(husk.NodeHeartbeat.Before())
	if err != nil {
		panic(err) // strings only
	}
	return raw
}()

// Heartbeat renews a node's lease. It returns the states before and after, and pgx.ErrNoRows if there is no such node.
func Heartbeat(ctx context.Context, q *db.Queries, n Beat) (db.HeartbeatRow, error) {
	was, err := q.Heartbeat(ctx, db.HeartbeatParams{
		ID: n.ID, CpuMillis: n.Capacity.CPUMillis, MemoryMib: n.Capacity.MemoryMiB, VmmOverheadMib: n.VMMOverheadMiB, Next: next,
		Endpoint: n.Endpoint, Capabilities: append([]string{}, n.Capabilities...), ScratchGib: n.ScratchGiB, StorageAddress: n.StorageAddress, Machines: n.Machines, Revision: n.Revision,
	})
	if err != nil || was.State == husk.NodeReady {
		return was, err
	}
	return was, q.Hint(ctx, []string{hints.Work})
}
