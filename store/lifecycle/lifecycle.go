// SPDX-License-Identifier: Apache-2.0

// Package lifecycle stops, starts and relabels pods whose rows are locked, in transactions of package store. Each function reports whether it
// has changed something.
package lifecycle

import (
	"context"
	"maps"
	"slices"

	"husk"
	"husk/store/admission"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/hints"
	"husk/store/pgerr"
)

// Change changes a pod of a tenant. The transaction holds the rows of both.
type Change func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Pod) (changed bool, err error)

// Stop stops a pod until it is started. A pod that has ended stays as it is.
func Stop(ctx context.Context, q *db.Queries, _ db.Tenant, row db.Pod) (bool, error) {
	switch next, _ := row.Phase.Next(husk.EventStop); {
	case next == husk.PhaseStopped:
		return true, q.SetPodPhase(ctx, db.SetPodPhaseParams{TenantID: row.TenantID, ID: row.ID, Phase: next, Halted: true})
	case next == husk.PhaseStopping:
		return true, halt(ctx, q, row, true)
	case row.Phase == husk.PhaseStopping && !row.Halted: // it was evicted, or is restarted
		return true, q.SetPodHalted(ctx, db.SetPodHaltedParams{TenantID: row.TenantID, ID: row.ID, Halted: true})
	}
	return false, nil
}

// Start starts a pod that is stopped or has ended. A pod that runs stays as it is. Codes: quota_exceeded, not_found, volume_in_use, conflict.
func Start(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Pod) (bool, error) {
	next, ok := row.Phase.Next(husk.EventStart)
	if !ok {
		if row.Phase == husk.PhaseStopping && row.Halted {
			if !row.HoldsRoom { // it is not counted at the moment
				if err := admission.Again(ctx, q, tenant, row); err != nil {
					return false, err
				}
			}
			return true, q.SetPodHalted(ctx, db.SetPodHaltedParams{TenantID: row.TenantID, ID: row.ID})
		}
		return false, nil
	}
	if err := admission.Again(ctx, q, tenant, row); err != nil {
		return false, err
	}
	if next == husk.PhasePending {
		return true, q.SetPodPhase(ctx, db.SetPodPhaseParams{TenantID: row.TenantID, ID: row.ID, Phase: next})
	}
	return true, halt(ctx, q, row, false)
}

// Restart stops a pod and starts it again. Codes: as Start.
func Restart(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Pod) (bool, error) {
	if next, ok := row.Phase.Next(husk.EventStop); ok && next == husk.PhaseStopping {
		return true, halt(ctx, q, row, false)
	}
	return Start(ctx, q, tenant, row)
}

// halt stops a pod on its node. It stays stopped, or is scheduled again.
func halt(ctx context.Context, q *db.Queries, row db.Pod, stays bool) error {
	if err := q.HaltPod(ctx, db.HaltPodParams{TenantID: row.TenantID, ID: row.ID, Halted: stays}); err != nil {
		return err
	}
	return q.Hint(ctx, []string{hints.Node(*row.NodeID)})
}

// Names is what can be changed of a pod while it runs. A name that is nil, and labels and annotations that are left out, stay as they are; nil
// removes a label or an annotation.
type Names struct {
	Name                *string
	Labels, Annotations map[string]*string
	SecurityGroups      *[]string // nil: as they are
}

// maxLabels is how many labels, and how many annotations, an object can have.
const maxLabels = 64

// Labels returns labels or annotations after a change. Codes: invalid.
func Labels(was map[string]string, change map[string]*string, field string) (map[string]string, error) {
	now := maps.Clone(was)
	if now == nil {
		now = map[string]string{}
	}
	for name, value := range change {
		if delete(now, name); value != nil {
			now[name] = *value
		}
	}
	if len(now) > maxLabels {
		return nil, husk.Errorf(husk.CodeInvalid, field, "the object would have %d %s; the limit is %d", len(now), field, maxLabels)
	}
	return now, nil
}

// Update changes name, labels, annotations and security groups. Codes: invalid, name_taken, not_found.
func (n Names) Update(ctx context.Context, q *db.Queries, _ db.Tenant, row db.Pod) (bool, error) {
	p := db.UpdatePodParams{TenantID: row.TenantID, ID: row.ID, Name: row.Name}
	var err error
	if n.Name != nil {
		p.Name = *n.Name
	}
	if p.Labels, err = Labels(row.Labels, n.Labels, "labels"); err != nil {
		return false, err
	}
	if err := convert.Scheduling(row.Scheduling).CheckLabels(p.Labels); err != nil {
		return false, err
	}
	if p.Annotations, err = Labels(row.Annotations, n.Annotations, "annotations"); err != nil {
		return false, err
	}
	if p.SecurityGroups = row.SecurityGroups; n.SecurityGroups != nil {
		p.SecurityGroups = append([]string{}, *n.SecurityGroups...)
		if err := admission.Groups(ctx, q, row.TenantID, p.SecurityGroups, "securityGroups"); err != nil {
			return false, err
		}
	}
	if slices.Equal(p.SecurityGroups, row.SecurityGroups) && p.Name == row.Name && maps.Equal(p.Labels, row.Labels) && maps.Equal(p.Annotations, row.Annotations) {
		return false, nil
	}
	_, err = q.UpdatePod(ctx, p)
	if pgerr.UniqueViolation(err, "pods_tenant_id_name_key") {
		return false, husk.Errorf(husk.CodeNameTaken, "name", "a pod named %q exists already", p.Name)
	}
	if err != nil || row.NodeID == nil {
		return true, err
	}
	if row.HoldsRoom && !maps.Equal(p.Labels, row.Labels) {
		if err := q.RereadNode(ctx, *row.NodeID); err != nil {
			return true, err
		}
	}
	return true, q.Hint(ctx, []string{hints.Node(*row.NodeID)})
}
