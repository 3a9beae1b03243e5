package store

import (
	"context"

	"husk"
	"husk/store/db"
)

// OpenSession writes down that a caller opens a session in a tenant's pod, and returns the pod and its node; placed is false while it is on
// none. detail says what is to be done there. Codes: not_found.
func (s *Store) OpenSession(ctx context.Context, tenantID, podID ID, detail string) (pod husk.Pod, node husk.Node, placed bool, err error) {
	type found struct {
		pod  husk.Pod
		node *ID
	}
	f, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (found, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: tenantID, ID: podID})
		if err != nil {
			return found{}, orNotFound(err, "pod")
		}
		return found{podOf(row), row.NodeID}, auditDetail(ctx, q, tenantID, "pod", podID.String(), detail)
	})
	if err != nil || f.node == nil {
		return f.pod, husk.Node{}, false, err
	}
	node, err = s.Node(ctx, *f.node)
	return f.pod, node, err == nil, err
}
