// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"log/slog"

	"husk"
	"husk/scheduler"
	"husk/store"
)

// Defragment proposes which nodes to drain with at most this many moves, and where their pods would fit. With a pool, it considers nodes of that
// pool only. It changes nothing.
func Defragment(ctx context.Context, s store.Control, log *slog.Logger, moves int, pool *string, dryRun bool) (husk.Defragmentation, error) {
	x := newIndex(s, log)
	if _, err := x.sync(ctx); err != nil {
		return husk.Defragmentation{}, err
	}
	d := husk.Defragmentation{DryRun: dryRun, Freed: []husk.FreedNode{}}
	may := func(at int) bool { return pool == nil || x.nodeOf(at).node.Pool == *pool }
	for _, f := range x.fleet.Defragment(moves, may) {
		d.Freed = append(d.Freed, x.freed(f))
		d.Moves += len(f.Moves)
		d.Gain.CPUMillis += f.Gain.CPUMillis
		d.Gain.MemoryMiB += f.Gain.MemoryMiB
	}
	return d, nil
}

func (x *index) freed(f scheduler.Freed) husk.FreedNode {
	n := x.nodeOf(f.Node)
	freed := husk.FreedNode{NodeID: n.node.ID, NodeName: n.node.Name, Gain: husk.Resources(f.Gain), Moves: []husk.FreedMove{}}
	freed.PerMove = husk.Resources{CPUMillis: f.Gain.CPUMillis / len(f.Moves), MemoryMiB: f.Gain.MemoryMiB / len(f.Moves)}
	for _, m := range f.Moves {
		key := x.keys[m.Pod]
		freed.Moves = append(freed.Moves, husk.FreedMove{PodID: key.ID, TenantID: key.TenantID, ToNodeName: x.nodeOf(m.To).node.Name, Resources: husk.Resources(m.Size)})
	}
	return freed
}
