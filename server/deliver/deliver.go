// SPDX-License-Identifier: Apache-2.0

// Package deliver converts what the store knows about pods into what their nodes need to know.
package deliver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/google/uuid"

	"husk"
	"husk/ceph"
	"husk/store"
	"husk/store/desired"
)

// States converts desired states.
type States struct {
	Monitors    []string
	VolumesPool string
	NamesSuffix string
	MaxBytes    int // of the changes in a response, as JSON; at least one change is in it
	Log         *slog.Logger
}

// MaxBytes is less than what an agent accepts in a response.
const MaxBytes = 8 << 20

// Of converts a state. If the changes are too large for one response, it returns the first ones and their revision. If a whole state is too
// large, and the agent knows parts, it returns those pods from this one on that fit, in the order of their ids.
func (d States) Of(node store.ID, after int64, s desired.State, from *uuid.UUID, parts bool) (husk.DesiredState, error) {
	state := husk.DesiredState{Revision: s.Revision, Incarnation: s.Incarnation, Pods: []husk.DesiredPod{}}
	if !s.Whole {
		state.Since = &after
	}
	if s.Whole && parts {
		slices.SortFunc(s.Changes, func(a, b desired.Change) int { return bytes.Compare(a.PodID[:], b.PodID[:]) })
		if from != nil {
			s.Changes = slices.DeleteFunc(s.Changes, func(c desired.Change) bool { return bytes.Compare(c.PodID[:], from[:]) < 0 })
		}
	}
	size, last := 0, after
	for _, c := range s.Changes {
		pod, deliverable := husk.DesiredPod{}, false
		if c.Pod != nil {
			var err error
			if c.Pod.KeyErr != nil { // its machine may run, so the node gets the pod all the same
				d.Log.Error("a pod cannot be started on its node any more; delete it", "tenant", c.Pod.Pod.TenantID, "pod", c.PodID, "node", node, "error", c.Pod.KeyErr)
			}
			if c.Pod.ConfigErr != nil {
				d.Log.Error("a config or secret of a pod cannot be read; store its values again", "tenant", c.Pod.Pod.TenantID, "pod", c.PodID, "error", c.Pod.ConfigErr)
			}
			if pod, err = d.Pod(*c.Pod); err != nil { // the node still gets its other pods
				d.Log.Error("a pod cannot be delivered to its node; delete it", "tenant", c.Pod.Pod.TenantID, "pod", c.PodID, "node", node, "error", err)
			}
			deliverable = err == nil
		}
		if !s.Whole || parts {
			raw, err := json.Marshal(pod)
			if err != nil {
				return state, err
			}
			size += len(raw)
			switch full := size > d.MaxBytes; {
			case full && s.Whole && len(state.Pods) > 0:
				state.NextPod = &c.PodID
				return state, nil
			case full && !s.Whole && last > after:
				state.Revision = last
				return state, nil
			}
			last = c.Revision
		}
		switch {
		case deliverable:
			state.Pods = append(state.Pods, pod)
		case !s.Whole:
			state.RemovedPods = append(state.RemovedPods, c.PodID)
		}
	}
	return state, nil
}

func (d States) network(i husk.Interface) husk.DesiredNetwork {
	n := husk.DesiredNetwork{ID: i.NetworkID, MAC: i.MAC, Address: i.Address.String(), NamesSuffix: d.NamesSuffix}
	if i.Address6.IsValid() {
		n.Address6 = i.Address6.String()
	}
	if !i.Isolated {
		n.Gateway = husk.Gateway(i.Address).String()
		if i.Address6.IsValid() {
			n.Gateway6 = husk.Gateway(i.Address6).String()
		}
	}
	return n
}

// Pod resolves images to disks, and merges image configuration and spec into one argument vector and environment.
func (d States) Pod(p desired.Pod) (husk.DesiredPod, error) {
	pod := husk.DesiredPod{
		ID: p.Pod.ID, TenantID: p.Pod.TenantID, Name: p.Pod.Name, Placement: p.Placement, Generation: p.Pod.Generation, State: StateOf(p.Pod.Status.Phase),
		Resources: p.Pod.Spec.Resources, VMMOverheadMiB: p.Pod.Status.VMMOverheadMiB, RestartPolicy: p.Pod.Spec.RestartPolicy, FSGroup: p.Pod.Spec.FSGroup,
		ShmSizeMiB: p.Pod.Spec.ShmSizeMiB, ScratchGiB: p.ScratchGiB, GracePeriodSeconds: p.Pod.Spec.GracePeriodSeconds, DeadlineSeconds: p.Pod.Spec.ActiveDeadlineSeconds, HostSettings: p.Pod.Spec.HostSettings,
		Ceph:  husk.CephAccess{Monitors: d.Monitors, User: ceph.User(p.KeyHolder), Key: p.CephKey},
		Disks: []husk.DesiredDisk{}, Containers: []husk.DesiredContainer{}, Volumes: []husk.DesiredVolume{},
	}
	for i, face := range p.Interfaces {
		if n := d.network(face); i == 0 {
			pod.Network = n
		} else {
			pod.MoreNetworks = append(pod.MoreNetworks, n)
		}
	}
	if p.Move.Incoming && pod.State == husk.DesiredRunning {
		pod.State = husk.DesiredIncoming
	}
	pod.From, pod.To = peerOf(p.Move.From), peerOf(p.Move.To)
	runs := pod.State == husk.DesiredRunning || pod.State == husk.DesiredIncoming
	if p.ConfigErr != nil && runs {
		pod.ValuesError = p.ConfigErr.Error()
	}
	if !runs {
		p.Configs = nil // nothing runs that could read them
	}
	passphrase := func(v desired.Volume) husk.Secret {
		if !runs {
			return "" // nothing opens the disk here any more
		}
		return v.Passphrase
	}
	size := 0
	for ref, use := range p.Pod.Spec.ConfigUses() {
		size += use.Times * p.Configs[ref].GuestBytes()
	}
	if size > husk.MaxFrameBytes { // before the state is built
		return pod, husk.TooLargeForGuest(size, husk.MaxFrameBytes)
	}
	attached := map[store.ID]bool{}
	for i, c := range p.Pod.Spec.AllContainers() {
		image, ok := p.Images[c.Name]
		if !ok {
			return husk.DesiredPod{}, fmt.Errorf("container %q has no image", c.Name)
		}
		if !attached[image.ID] {
			attached[image.ID] = true
			pod.Disks = append(pod.Disks, husk.DesiredDisk{
				Pool: d.VolumesPool, Name: husk.Image{ID: image.ID}.CloneName(), Serial: husk.DiskSerial("img", image.ID), ReadOnly: true,
			})
		}
		c.Env = p.Pod.Variables(c, p.Configs)
		container := husk.MergeContainer(c, image.Config)
		container.ImageSerial, container.Init = husk.DiskSerial("img", image.ID), i < len(p.Pod.Spec.InitContainers)
		pod.Containers = append(pod.Containers, container)
	}
	for _, v := range p.Pod.Spec.Volumes {
		if v.HasFiles() {
			pod.Volumes = append(pod.Volumes, husk.DesiredVolume{Name: v.Name, Files: p.Pod.FilesOf(v, p.Configs)})
			continue
		}
		if v.EmptyDir != nil {
			pod.Volumes = append(pod.Volumes, husk.DesiredVolume{Name: v.Name, EmptyDir: v.EmptyDir})
			continue
		}
		if v.SnapshotID != uuid.Nil {
			s := husk.Snapshot{ID: v.SnapshotID}
			pod.Disks = append(pod.Disks, husk.DesiredDisk{Pool: d.VolumesPool, Name: s.ViewName(), Serial: s.Serial(), ReadOnly: true, Passphrase: passphrase(p.Snapshots[v.SnapshotID])})
			pod.Volumes = append(pod.Volumes, husk.DesiredVolume{Name: v.Name, Serial: s.Serial(), FSType: p.Snapshots[v.SnapshotID].FSType, ReadOnly: true})
			continue
		}
		pod.Disks = append(pod.Disks, husk.DesiredDisk{
			Pool: d.VolumesPool, Name: husk.Volume{ID: v.VolumeID}.RBDName(), Serial: husk.DiskSerial("vol", v.VolumeID), SizeGiB: p.Volumes[v.VolumeID].GiB, Limits: p.Volumes[v.VolumeID].Limits,
			Passphrase: passphrase(p.Volumes[v.VolumeID]),
		})
		pod.Volumes = append(pod.Volumes, husk.DesiredVolume{Name: v.Name, Serial: husk.DiskSerial("vol", v.VolumeID), FSType: p.Volumes[v.VolumeID].FSType})
	}
	if n := husk.GuestBytes(pod.Containers); n > husk.MaxFrameBytes { // an earlier version accepted pods that are too large
		if pod.State != husk.DesiredGone {
			return pod, husk.TooLargeForGuest(n, husk.MaxFrameBytes)
		}
		pod.Containers = []husk.DesiredContainer{} // to remove a pod, its node needs only its id
	}
	return pod, nil
}

func peerOf(p *desired.Peer) *husk.MovePeer {
	if p == nil {
		return nil
	}
	return &husk.MovePeer{NodeID: p.Node, Placement: p.Placement, Endpoint: p.Endpoint}
}

// StateOf says what a node should do with a pod of a phase.
func StateOf(phase husk.Phase) husk.DesiredPodState {
	switch phase {
	case husk.PhaseStopping:
		return husk.DesiredGone
	case husk.PhaseSucceeded, husk.PhaseFailed:
		return husk.DesiredFinished
	default:
		return husk.DesiredRunning
	}
}
