package store

import (
	"context"

	"husk"
	"husk/store/db"
)

// DesiredPod is a pod as its node needs to know it.
type DesiredPod struct {
	Pod     husk.Pod
	Network DesiredNetwork
	CephKey string
	Images  map[string]DesiredImage // by container
}

// DesiredNetwork is where a pod's interface belongs.
type DesiredNetwork struct {
	ID   ID
	CIDR string
	MAC  string
}

// DesiredImage is what a container starts from.
type DesiredImage struct {
	ID     ID
	Config husk.ImageConfig
}

// Desired returns the whole desired state of a node with its revision. Codes: not_found.
func (s *Store) Desired(ctx context.Context, node ID) (int64, []DesiredPod, error) {
	type desired struct {
		revision int64
		pods     []DesiredPod
	}
	d, err := inControl(ctx, s, func(q *db.Queries) (desired, error) {
		// The revision is read first: a change that slips in between is then delivered again, never missed.
		revision, err := q.DesiredRevision(ctx, node)
		if err != nil {
			return desired{}, orNotFound(err, "node")
		}
		rows, err := q.DesiredPods(ctx, node)
		if err != nil {
			return desired{}, err
		}
		images, err := q.ImagesOfNode(ctx, node)
		if err != nil {
			return desired{}, err
		}
		byPod := map[ID]map[string]DesiredImage{}
		for _, i := range images {
			if byPod[i.PodID] == nil {
				byPod[i.PodID] = map[string]DesiredImage{}
			}
			byPod[i.PodID][i.Container] = DesiredImage{i.ID, i.Config}
		}
		d := desired{revision: revision, pods: []DesiredPod{}}
		for _, r := range rows {
			var key []byte
			if r.Pod.CephKey != nil { // a pod that is to go may never have had one
				if key, err = s.openFor(ctx, q, r.Pod.TenantID, r.Pod.CephKey, sealedKeyOwner(r.Pod.ID)); err != nil {
					return desired{}, wrap(err, "ceph key of pod %s", r.Pod.ID)
				}
			}
			d.pods = append(d.pods, DesiredPod{
				Pod: podOf(r.Pod), CephKey: string(key), Images: byPod[r.Pod.ID],
				Network: DesiredNetwork{ID: r.Pod.NetworkID, CIDR: r.Cidr.String(), MAC: r.Pod.Mac.String()},
			})
		}
		return d, nil
	})
	return d.revision, d.pods, err
}

// DesiredRevision returns the revision alone. Codes: not_found.
func (s *Store) DesiredRevision(ctx context.Context, node ID) (int64, error) {
	return inControl(ctx, s, func(q *db.Queries) (int64, error) {
		revision, err := q.DesiredRevision(ctx, node)
		return revision, orNotFound(err, "node")
	})
}
