// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	"husk"
	"husk/store/admission"
	"husk/store/db"
	"husk/store/hints"
)

// Size is a new size of a pod. What is nil stays as it is.
type Size struct{ CPUMillis, MemoryMiB *int }

// Resize changes the size of a pod. If the pod is on a node, the node reserves what it needs in addition, in the same transaction. What it needs less is
// reserved until the node's agent says that the machine has become smaller. Codes: conflict, invalid, quota_exceeded.
func (s Size) Resize(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Pod) (bool, error) {
	spec := row.Spec
	if s.CPUMillis != nil {
		spec.Resources.CPUMillis = *s.CPUMillis
	}
	if s.MemoryMiB != nil {
		spec.Resources.MemoryMiB = *s.MemoryMiB
	}
	if spec.Resources == row.Spec.Resources {
		return false, nil
	}
	if err := spec.CheckMemory("memoryMiB"); err != nil {
		return false, err
	}
	reserve := spec.Resources
	if row.HoldsRoom {
		if row.Phase != husk.PhaseStarting && row.Phase != husk.PhaseRunning {
			return false, husk.Errorf(husk.CodeConflict, "", "pod %q is %s, and its size cannot change then; retry later", row.Name, row.Phase)
		}
		if row.UnknownSince != nil {
			return false, husk.Errorf(husk.CodeConflict, "", "node %s of pod %q does not respond, and the pod's size cannot change then; retry later", row.NodeName, row.Name)
		}
		reserve = husk.Resources{CPUMillis: max(row.CpuMillis, reserve.CPUMillis), MemoryMiB: max(row.MemoryMib, reserve.MemoryMiB)}
	}
	more := husk.Resources{CPUMillis: max(0, reserve.CPUMillis-row.CpuMillis), MemoryMiB: max(0, reserve.MemoryMiB-row.MemoryMib)}
	if row.HoldsRoom || row.Phase == husk.PhasePending { // others count when they are started
		if err := admission.More(ctx, q, tenant, more); err != nil {
			return false, err
		}
	}
	if row.HoldsRoom {
		if err := charge(ctx, q, row, more); err != nil {
			return false, err
		}
	}
	err := q.ResizePod(ctx, db.ResizePodParams{
		TenantID: row.TenantID, ID: row.ID, WantCpuMillis: spec.Resources.CPUMillis, WantMemoryMib: spec.Resources.MemoryMiB,
		CpuMillis: reserve.CPUMillis, MemoryMib: reserve.MemoryMiB,
	})
	if err != nil || row.NodeID == nil {
		return true, err
	}
	return true, q.Hint(ctx, []string{hints.Node(*row.NodeID)})
}

// charge reserves more of the pod's node. It does not say how much the node has, because that depends on other tenants.
func charge(ctx context.Context, q *db.Queries, row db.Pod, more husk.Resources) error {
	missing, err := q.ChargeNode(ctx, db.ChargeNodeParams{Node: *row.NodeID, Pod: row.ID, CpuMillis: more.CPUMillis, MemoryMib: more.MemoryMiB})
	if err != nil {
		return err
	}
	switch missing {
	case "":
		return nil
	case "moves":
		return husk.Errorf(husk.CodeConflict, "", "pod %q is moving to another node; retry when it has arrived", row.Name)
	case "agent":
		return husk.Errorf(husk.CodeConflict, "",
			"the node of pod %q cannot change the size of a pod that runs, because its agent is of an earlier version; stop the pod first", row.Name)
	default:
		return husk.Errorf(husk.CodeConflict, "",
			"the node of pod %q has insufficient capacity for this size; ask for less, or stop the pod, resize it and start it, so that another node can take it", row.Name)
	}
}
