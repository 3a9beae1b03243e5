// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"husk"
	"husk/store/configs"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/envelope"
)

// moving are the pods that move from or to a node.
type moving struct {
	rows []db.DesiredPodsRow // placements that are not active: incoming or leaving
	ids  []uuid.UUID         // of these pods
	of   map[uuid.UUID]Move
}

func readMoving(ctx context.Context, q *db.Queries, node uuid.UUID, ids []uuid.UUID) (moving, error) {
	m := moving{of: map[uuid.UUID]Move{}}
	targets, err := q.MoveTargets(ctx, db.MoveTargetsParams{NodeID: node, Ids: ids})
	if err != nil {
		return m, err
	}
	for _, t := range targets {
		m.of[t.PodID] = Move{To: &Peer{t.NodeID, t.Number, t.Endpoint}}
	}
	others, err := q.MovingPods(ctx, db.MovingPodsParams{NodeID: node, Ids: ids})
	if err != nil {
		return m, err
	}
	seen := map[uuid.UUID]bool{}
	for _, o := range others {
		if seen[o.Pod.ID] { // of several, only the latest
			continue
		}
		seen[o.Pod.ID] = true
		move := Move{Incoming: o.Placement.Role == "incoming"}
		if o.Placement.Live && move.Incoming && o.ActiveNode != nil {
			move.From = &Peer{*o.ActiveNode, o.ActiveNumber, o.ActiveEndpoint}
		}
		pod := o.Pod
		pod.Placement, pod.KeyPlacement, pod.CephKey, pod.VmmOverheadMib = o.Placement.Number, o.Placement.Number, o.Placement.CephKey, o.Placement.VmmOverheadMib
		if !move.Incoming {
			pod.Phase = husk.PhaseStopping
		}
		m.of[pod.ID] = move
		m.rows, m.ids = append(m.rows, db.DesiredPodsRow{Pod: pod, Cidr: o.Cidr}), append(m.ids, pod.ID)
	}
	return m, nil
}

// add adds the images, volumes and values that these pods use to those of the node's other pods.
func (m moving) add(ctx context.Context, q *db.Queries, keys *envelope.Keys, images *[]db.ImagesOfNodeRow, volumes *[]db.VolumesOfNodeRow, values map[uuid.UUID]configs.Values, unreadable map[uuid.UUID]error) (map[uuid.UUID]configs.Values, map[uuid.UUID]error, error) {
	if len(m.ids) == 0 {
		return values, unreadable, nil
	}
	more, err := q.ImagesOfPods(ctx, m.ids)
	if err != nil {
		return nil, nil, err
	}
	*images = append(*images, convert.All(more, func(r db.ImagesOfPodsRow) db.ImagesOfNodeRow {
		return db.ImagesOfNodeRow{PodID: r.PodID, Container: r.Container, ID: r.ID, Config: r.Config}
	})...)
	disks, err := q.VolumesOfPods(ctx, m.ids)
	if err != nil {
		return nil, nil, err
	}
	*volumes = append(*volumes, convert.All(disks, func(r db.VolumesOfPodsRow) db.VolumesOfNodeRow { return db.VolumesOfNodeRow(r) })...)
	others, errs, err := configs.OfPods(ctx, q, keys, m.ids)
	if err != nil {
		return nil, nil, err
	}
	if values == nil {
		values = map[uuid.UUID]configs.Values{}
	}
	if unreadable == nil {
		unreadable = map[uuid.UUID]error{}
	}
	maps.Copy(values, others)
	maps.Copy(unreadable, errs)
	return values, unreadable, nil
}
