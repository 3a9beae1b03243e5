// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"

	"husk"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/desired"
	"husk/store/hints"
	"husk/store/moves"
	"husk/store/nodelife"
	"husk/store/pgerr"
	"husk/store/topology"
)

// Desired returns the desired state of a node: what has changed after a revision, or everything if after is nil or the changes since then are
// not known any more. Codes: not_found.
func (c Control) Desired(ctx context.Context, node ID, after *int64) (desired.State, error) {
	return inControl(ctx, c, func(q *db.Queries) (desired.State, error) {
		state, err := desired.Read(ctx, q, node, after, &c.keys, func(pod db.Pod) (string, error) {
			key, err := c.keys.Open(ctx, q, pod.TenantID, pod.CephKey, sealedKeyOwner(pod.ID))
			return string(key), wrap(err, "ceph key of pod %s", pod.ID)
		})
		if err != nil {
			return state, pgerr.NotFound(err, "node")
		}
		incarnation, err := q.Incarnation(ctx)
		state.Incarnation = husk.Incarnation(incarnation)
		return state, err
	})
}

// ForgetDesiredChanges deletes changes of desired states that are older than an hour.
func (c Control) ForgetDesiredChanges(ctx context.Context) (int64, error) {
	return inControl(ctx, c, func(q *db.Queries) (int64, error) { return q.ForgetDesiredChanges(ctx) })
}

// DesiredRevision returns only the revision of a node's desired state, and the incarnation of the database. Codes: not_found.
func (c Control) DesiredRevision(ctx context.Context, node ID) (int64, husk.Incarnation, error) {
	now, err := inControl(ctx, c, func(q *db.Queries) (db.DesiredRevisionRow, error) { return q.DesiredRevision(ctx, node) })
	return now.DesiredRevision, husk.Incarnation(now.Incarnation), pgerr.NotFound(err, "node")
}

// Report applies an agent's reports about pods on its own node. It drops reports about other pods, and late reports: those about an older
// generation or placement, or with an event that does not apply in the pod's phase. If some reports cannot be recorded, it records
// all others and returns husk.ItemsError.
func (c Control) Report(ctx context.Context, node ID, reports []husk.PodReport) error {
	failed := husk.ItemsError{}
	for i, r := range reports {
		r = convert.Report(r)
		_, err := inControl(ctx, c, func(q *db.Queries) (struct{}, error) { return struct{}{}, nodelife.Report(ctx, q, node, r) })
		switch err = wrap(err, "report of pod %s", r.PodID); {
		case err == nil:
		case ctx.Err() != nil || husk.CodeOf(err) == husk.CodeUnavailable:
			return err // the other reports would fail in the same way
		default:
			failed[i] = err
		}
	}
	return failed.OrNil()
}

// PlacementKey identifies a placement of a pod.
type PlacementKey struct {
	PodKey
	Number int64
}

// Moves returns the store of pods' moves.
func (c Control) Moves() moves.Store {
	return moves.Store{Do: func(ctx context.Context, f func(q *db.Queries) error) error { return controlDo(ctx, c, f) }, Audit: auditPlatform}
}

// Topology returns the store of networks and of the pods in them.
func (c Control) Topology() topology.Store {
	return topology.Store{Do: func(ctx context.Context, f func(q *db.Queries) error) error { return controlDo(ctx, c, f) }}
}

// SetPodKeys stores the sealed keys of placements and notifies their nodes. It skips placements that have a key by now, and those that have ended.
func (c Control) SetPodKeys(ctx context.Context, keys map[PlacementKey]string) error {
	return controlDo(ctx, c, func(q *db.Queries) error {
		var p db.SetPodKeysParams
		for of, key := range keys {
			sealed, err := c.keys.Seal(ctx, q, of.TenantID, []byte(key), sealedKeyOwner(of.ID))
			if err != nil {
				return err
			}
			p.TenantIds, p.PodIds = append(p.TenantIds, of.TenantID), append(p.PodIds, of.ID)
			p.Placements, p.CephKeys = append(p.Placements, of.Number), append(p.CephKeys, sealed)
		}
		nodes, err := q.SetPodKeys(ctx, p)
		if err != nil {
			return err
		}
		incoming, err := moves.SetKeys(ctx, q, p)
		if err != nil {
			return err
		}
		nodes = append(nodes, incoming...)
		return hint(ctx, q, convert.All(nodes, hints.Node)...)
	})
}

func sealedKeyOwner(pod ID) string { return "ceph key of pod " + pod.String() }

// KeyHolders returns the holders of the keys that are in use (husk.KeyHolder), of one pod or of all. Others are orphans.
func (c Control) KeyHolders(ctx context.Context, pod *ID) (map[string]bool, error) {
	return inControl(ctx, c, func(q *db.Queries) (map[string]bool, error) {
		rows, err := q.KeyedPodIDs(ctx, pod)
		holders := make(map[string]bool, len(rows))
		for _, r := range rows {
			holders[husk.KeyHolder(r.ID, r.Placement)] = true
			holders[husk.KeyHolder(r.ID, r.KeyPlacement)] = true
		}
		if err != nil {
			return nil, err
		}
		return holders, moves.AddKeyed(ctx, q, pod, holders)
	})
}
