// SPDX-License-Identifier: Apache-2.0

// Package desired reads what a node should run, in transactions of package store: everything, or what has changed since a revision that the
// node's agent knows. Triggers record the changes (migrations/016_changes.sql).
package desired

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/configs"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/disks"
	"husk/store/envelope"
	"husk/store/seal"
)

// maxChanges is how many changes one read returns. The next read returns the rest.
const maxChanges = 200

// State is the desired state of a node at a revision, or how to get to it from an earlier one.
type State struct {
	Revision    int64
	Incarnation husk.Incarnation
	Whole       bool // Changes are all pods of the node
	Changes     []Change
}

// Change is one pod that the node should run differently from now on, or a pod that has left the node. Changes are in the order of their revisions.
type Change struct {
	Revision int64
	PodID    uuid.UUID
	Pod      *Pod // nil if the pod has left the node
}

// Pod is what the store knows about a pod that a node should run.
type Pod struct {
	Pod        husk.Pod
	Interfaces []husk.Interface // the first one first
	Placement  int64
	ScratchGiB int              // of its scratch disk; 0: it has none
	KeyHolder  string           // whose key it is (husk.KeyHolder)
	CephKey    string           // empty if KeyErr is set
	KeyErr     error            // the stored key cannot be opened
	Images     map[string]Image // by container
	Volumes    map[uuid.UUID]Volume
	Snapshots  map[uuid.UUID]Volume // those that it uses
	Configs    configs.Values
	ConfigErr  error // some values that the pod uses cannot be opened
	Move       Move
}

// Volume is what the store knows about a volume of a pod.
type Volume struct {
	GiB        int              // size of its RBD image
	FSType     string           // its file system
	Limits     *husk.DiskLimits // of its class
	Passphrase husk.Secret      // empty: it is not encrypted
}

// Move is what a node has to do with a pod that moves. The zero value is nothing.
type Move struct {
	Incoming bool // the pod is not active here yet
	From, To *Peer
}

// Peer is the node at the other end of a move with memory.
type Peer struct {
	Node      uuid.UUID
	Placement int64 // that the pod has there
	Endpoint  string
}

// Image is the image that a container starts from.
type Image struct {
	ID     uuid.UUID
	Config husk.ImageConfig
}

// Read returns what has changed after a revision, or everything if after is nil or the changes since then are not known. openKey decrypts the
// Ceph key of a pod, and keys the configs. If there is no such node, it returns pgx.ErrNoRows.
func Read(ctx context.Context, q *db.Queries, node uuid.UUID, after *int64, keys *envelope.Keys, openKey func(db.Pod) (string, error)) (State, error) {
	if err := q.ReadOneSnapshot(ctx); err != nil { // a pod that moves between two queries would be missing
		return State{}, err
	}
	if after == nil {
		return whole(ctx, q, node, keys, openKey)
	}
	// The pods are read after the changes, so a change in between is delivered twice instead of being missed.
	rows, err := q.DesiredChanges(ctx, db.DesiredChangesParams{ID: node, After: *after, Max: maxChanges})
	switch {
	case err != nil:
		return State{}, err
	case len(rows) == 0:
		return State{}, pgx.ErrNoRows
	case !rows[0].Known:
		return whole(ctx, q, node, keys, openKey)
	case rows[0].Revision == 0:
		return State{Revision: rows[0].NodeRevision}, nil
	}
	s := State{Revision: rows[0].NodeRevision}
	if len(rows) == maxChanges { // there may be more
		s.Revision = rows[len(rows)-1].Revision
	}
	ids := convert.All(rows, func(r db.DesiredChangesRow) uuid.UUID { return r.PodID })
	pods, err := read(ctx, q, node, ids, keys, openKey)
	if err != nil {
		return State{}, err
	}
	byID := make(map[uuid.UUID]*Pod, len(pods))
	for i := range pods {
		byID[pods[i].Pod.ID] = &pods[i]
	}
	for _, r := range rows {
		s.Changes = append(s.Changes, Change{r.Revision, r.PodID, byID[r.PodID]})
	}
	return s, nil
}

func whole(ctx context.Context, q *db.Queries, node uuid.UUID, keys *envelope.Keys, openKey func(db.Pod) (string, error)) (State, error) {
	now, err := q.DesiredRevision(ctx, node) // first, for the same reason
	if err != nil {
		return State{}, err
	}
	pods, err := read(ctx, q, node, nil, keys, openKey)
	s := State{Revision: now.DesiredRevision, Whole: true}
	for i := range pods {
		s.Changes = append(s.Changes, Change{now.DesiredRevision, pods[i].Pod.ID, &pods[i]})
	}
	return s, err
}

// read returns the pods that the node should run: all, or those of them with these ids.
func read(ctx context.Context, q *db.Queries, node uuid.UUID, ids []uuid.UUID, keys *envelope.Keys, openKey func(db.Pod) (string, error)) ([]Pod, error) {
	rows, err := q.DesiredPods(ctx, db.DesiredPodsParams{NodeID: node, Ids: ids})
	if err != nil {
		return nil, err
	}
	moving, err := readMoving(ctx, q, node, ids)
	if err != nil {
		return nil, err
	}
	rows = append(rows, moving.rows...)
	images, err := q.ImagesOfNode(ctx, db.ImagesOfNodeParams{NodeID: node, Ids: ids})
	if err != nil {
		return nil, err
	}
	volumes, err := q.VolumesOfNode(ctx, db.VolumesOfNodeParams{NodeID: node, Ids: ids})
	if err != nil {
		return nil, err
	}
	values, unreadable, err := configs.OfNode(ctx, q, keys, node, ids)
	if err != nil {
		return nil, err
	}
	values, unreadable, err = moving.add(ctx, q, keys, &images, &volumes, values, unreadable)
	if err != nil {
		return nil, err
	}
	byPod := map[uuid.UUID]map[string]Image{}
	for _, i := range images {
		if byPod[i.PodID] == nil {
			byPod[i.PodID] = map[string]Image{}
		}
		byPod[i.PodID][i.Container] = Image{i.ID, i.Config}
	}
	unopened := map[uuid.UUID]error{} // why a pod's disks cannot be opened
	claimed := map[uuid.UUID]map[uuid.UUID]Volume{}
	for _, v := range volumes {
		if claimed[v.PodID] == nil {
			claimed[v.PodID] = map[uuid.UUID]Volume{}
		}
		volume := volumeOf(v)
		if volume.Passphrase, err = openPassphrase(ctx, q, keys, v.TenantID, v.KeyID, v.Sealed, v.PodID, unopened); err != nil {
			return nil, err
		}
		claimed[v.PodID][v.ID] = volume
	}
	snapshots, err := snapshotsOf(ctx, q, keys, rows, unopened)
	if err != nil {
		return nil, err
	}
	pods := make([]Pod, 0, len(rows))
	for _, r := range rows {
		key := ""
		var keyErr error
		if r.Pod.CephKey != nil { // a pod that is being removed may never have had a key
			if key, keyErr = openKey(r.Pod); keyErr != nil && !errors.Is(keyErr, seal.ErrSealed) {
				return nil, keyErr
			}
		}
		if unopened[r.Pod.ID] != nil {
			key, keyErr = "", unopened[r.Pod.ID]
		}
		pods = append(pods, Pod{
			Pod: convert.Pod(r.Pod), Placement: r.Pod.Placement, ScratchGiB: r.Pod.ScratchGib, KeyHolder: husk.KeyHolder(r.Pod.ID, r.Pod.KeyPlacement), CephKey: key, KeyErr: keyErr, ConfigErr: unreadable[r.Pod.ID], Images: byPod[r.Pod.ID], Volumes: claimed[r.Pod.ID], Snapshots: snapshots[r.Pod.ID], Configs: values[r.Pod.ID],
			Interfaces: interfacesOf(r), Move: moving.of[r.Pod.ID],
		})
	}
	return pods, nil
}

// openPassphrase opens the passphrase of a disk. One that never opens is recorded for the pod, so that its node still gets its other pods.
func openPassphrase(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant uuid.UUID, id *uuid.UUID, sealed []byte, pod uuid.UUID, unopened map[uuid.UUID]error) (husk.Secret, error) {
	passphrase, err := disks.Open(ctx, q, keys, tenant, id, sealed)
	if errors.Is(err, seal.ErrSealed) {
		unopened[pod], err = err, nil
	}
	return passphrase, err
}

// snapshotsOf returns the snapshots that pods use, by pod. Most pods use none.
func snapshotsOf(ctx context.Context, q *db.Queries, keys *envelope.Keys, rows []db.DesiredPodsRow, unopened map[uuid.UUID]error) (map[uuid.UUID]map[uuid.UUID]Volume, error) {
	var ids []uuid.UUID
	for _, r := range rows {
		if slices.ContainsFunc(r.Pod.Spec.Volumes, func(v husk.PodVolume) bool { return v.SnapshotID != uuid.Nil }) {
			ids = append(ids, r.Pod.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	used, err := q.SnapshotsOfPods(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := map[uuid.UUID]map[uuid.UUID]Volume{}
	for _, s := range used {
		if all[s.PodID] == nil {
			all[s.PodID] = map[uuid.UUID]Volume{}
		}
		passphrase, err := openPassphrase(ctx, q, keys, s.TenantID, s.KeyID, s.Sealed, s.PodID, unopened)
		if err != nil {
			return nil, err
		}
		all[s.PodID][s.ID] = Volume{FSType: s.FsType, Passphrase: passphrase}
	}
	return all, nil
}

func volumeOf(r db.VolumesOfNodeRow) Volume {
	v := Volume{GiB: r.ImageGib, FSType: r.FsType}
	if r.Iops != nil && r.MibPerSecond != nil {
		v.Limits = &husk.DiskLimits{IOPS: *r.Iops, MiBPerSecond: *r.MibPerSecond}
	}
	return v
}

// interfacesOf returns the pod's interfaces. Of a pod that a server of the previous version has created, only the network's range is known.
func interfacesOf(r db.DesiredPodsRow) []husk.Interface {
	interfaces := convert.Interfaces(r.Pod)
	interfaces[0].Address = netip.PrefixFrom(interfaces[0].Address.Addr(), r.Cidr.Bits())
	return interfaces
}
