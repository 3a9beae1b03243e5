package store

import (
	"context"
	"encoding/json"

	"husk"
	"husk/store/db"
)

// Decision returns what the scheduler decided about a tenant's pod last. Codes: not_found.
func (s *Store) Decision(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inTenant(ctx, s, tenantID, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
}

// DecisionForOperator is Decision for a caller of no tenant. Codes: not_found.
func (s *Store) DecisionForOperator(ctx context.Context, tenantID, podID ID) (husk.Placement, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Placement, error) { return decision(ctx, q, tenantID, podID) })
}

func decision(ctx context.Context, q *db.Queries, tenantID, podID ID) (husk.Placement, error) {
	row, err := q.PodDecision(ctx, db.PodDecisionParams{TenantID: tenantID, ID: podID})
	if err != nil {
		return husk.Placement{}, orNotFound(err, "pod")
	}
	p := husk.Placement{Outcome: husk.PlacementUndecided}
	if row.Decision != nil {
		if err := json.Unmarshal(row.Decision, &p); err != nil {
			return husk.Placement{}, wrap(err, "decision about pod %s", podID)
		}
	}
	if row.Phase == husk.PhasePending {
		p.Attempts, p.NextTryAt = row.Tries, row.NextTryAt
		if p.Outcome == husk.PlacementPlaced { // and evicted since
			p = husk.Placement{Outcome: husk.PlacementUndecided}
		}
	} else {
		p.NodeName, p.DecidedAt = row.NodeName, row.PlacedAt
	}
	return p, nil
}
